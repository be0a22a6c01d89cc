package inventory

// Size is how many things are held in all.
func (i *Inventory) Size() int {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return len(i.projects.entries) + len(i.branches.entries) + len(i.refs.entries) + len(i.numbers.entries) +
		len(i.numbered.entries) + len(i.names.entries) + len(i.snippets.entries) + len(i.asked.entries)
}
