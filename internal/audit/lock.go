//go:build unix

package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrBusy says that another process writes the chain.
var ErrBusy = errors.New("is being written by another process")

// lockChain makes sure that one process writes a chain: two would each break the other's. The kernel gives the lock back
// when the process ends, however it ends.
func lockChain(dir, chain string) (*os.File, error) {
	path := filepath.Join(dir, chain+".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking audit chain: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("audit chain %s in %s %w: give each replica a name of its own", chain, dir, ErrBusy)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking audit chain: %w", err)
	}
	return f, nil
}
