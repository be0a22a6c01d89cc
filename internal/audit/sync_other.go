//go:build !linux

package audit

import "os"

// syncData puts a file's data on stable storage.
func syncData(f *os.File) error { return f.Sync() }
