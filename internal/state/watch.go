package state

import "sync"

// watchers tells those who asked about writes to a table.
type watchers struct {
	mu      sync.RWMutex
	byTable map[string][]func(key string)
}

func (w *watchers) add(table string, fn func(key string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byTable == nil {
		w.byTable = make(map[string][]func(string))
	}
	w.byTable[table] = append(w.byTable[table], fn)
}

// tell runs the watchers in the writer's goroutine, so that a writer who returns knows that everybody has heard.
func (w *watchers) tell(table, key string) {
	w.mu.RLock()
	fns := w.byTable[table]
	w.mu.RUnlock()
	for _, fn := range fns {
		fn(key)
	}
}

// tellAll runs every watcher with an empty key: changes to any table may have been missed.
func (w *watchers) tellAll() {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, fns := range w.byTable {
		for _, fn := range fns {
			fn("")
		}
	}
}
