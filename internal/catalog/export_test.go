package catalog

// CompilePattern gives the tests a pattern by itself: its matcher, and whether it runs without a regular expression.
func CompilePattern(source string) (match func(string) bool, fast bool, err error) {
	p, err := compilePattern(source)
	if err != nil {
		return nil, false, err
	}
	return p.match, p.fallback == nil, nil
}

// KnownPatterns returns the patterns of the embedded table by parameter name.
func KnownPatterns() map[string]string { return embedded().Params }
