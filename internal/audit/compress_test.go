package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/audit"
)

// complete is a file that is no longer written to.
func complete(t *testing.T, size int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "audit-00000001-20261123T000000Z.jsonl")
	if err := os.WriteFile(path, bytes.Repeat([]byte("a line\n"), size/7), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCompressionLeavesTheCoresToRequests(t *testing.T) {
	path := complete(t, 2<<20)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := audit.Compress(path, nil); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 500*time.Millisecond {
			t.Errorf("two MiB took %v of pauses, want a pause after each part", took)
		}
	})
	if _, err := os.Stat(path + ".gz"); err != nil {
		t.Error(err)
	}
}

func TestCompressionEndsWithTheLog(t *testing.T) {
	path := complete(t, 2<<20)
	ends := make(chan struct{})
	close(ends)
	if err := audit.Compress(path, ends); !errors.Is(err, audit.ErrEnded) {
		t.Errorf("compressing while the log is closed: %v, want %v", err, audit.ErrEnded)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 || left[0].Name() != filepath.Base(path) {
		t.Errorf("left %v, %v; want the file as it was", left, err)
	}
}
