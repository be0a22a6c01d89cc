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

// Compression hurries no more than the files that wait ask for, and never so that requests would feel it.
func TestCompressionLeavesTheCoresToRequests(t *testing.T) {
	const parts = 16 // 2 MiB
	for waiting, pause := range map[int]time.Duration{1: 400 * time.Millisecond, 2: 200 * time.Millisecond, 8: 50 * time.Millisecond, 1000: 50 * time.Millisecond} {
		path := complete(t, 2<<20)
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			if err := audit.Compress(path, waiting, nil); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < (parts-1)*pause || took > parts*pause {
				t.Errorf("%d files wait: two MiB took %v of pauses, want one of %v after each of %d parts", waiting, took, pause, parts)
			}
		})
		if _, err := os.Stat(path + ".gz"); err != nil {
			t.Error(err)
		}
	}
}

func TestCompressionEndsWithTheLog(t *testing.T) {
	path := complete(t, 2<<20)
	ends := make(chan struct{})
	close(ends)
	if err := audit.Compress(path, 1, ends); !errors.Is(err, audit.ErrEnded) {
		t.Errorf("compressing while the log is closed: %v, want %v", err, audit.ErrEnded)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 || left[0].Name() != filepath.Base(path) {
		t.Errorf("left %v, %v; want the file as it was", left, err)
	}
}
