package policy

// GlobMatch is the matcher of claims' patterns, for the fuzz test.
func GlobMatch(pattern, text string) bool { return glob(pattern).matches(text) }
