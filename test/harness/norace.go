//go:build !race

package harness

// Race reports whether tests and program are built with the race detector.
const Race = false
