package audit

import "golang.org/x/sys/unix"

// NewSync is how a log syncs its files.
var NewSync = newSync

// SyncResult is what the kernel's answer to a sync means.
func SyncResult(result int64) unix.Errno { return ioEvent{result: result}.errno() }
