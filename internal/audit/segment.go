package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// segment is the file being written. Its first size bytes are known to the chain and on stable storage, the last of them
// perhaps in the write-ahead file alone; a write that fails is cut off again, so that a file never holds lines that the
// chain in memory does not know.
type segment struct {
	f      *os.File
	path   string
	number uint64
	opened standing // to notice another file at the same path
	size   int64
	synced int64 // how much of it is on stable storage here
	dirty  bool  // a failed write could not be cut off yet
	cut    bool  // one was, and the cut is not on stable storage
	stale  bool  // a sync failed: what is not synced must be written again, since the kernel may have dropped it
	ahead  *ahead
	sync   func(*os.File) error // syncData but in tests
}

// createSegment makes a new, empty file.
func createSegment(path string, number uint64, ahead *ahead, sync func(*os.File) error) (*segment, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating audit file: %w", err)
	}
	return newSegment(f, path, number, ahead, sync)
}

// openSegment opens an existing file to go on writing after its first size bytes; what follows them is cut off. The rest
// is synced: a killed process may have written lines that it never got to sync.
func openSegment(path string, size int64, number uint64, ahead *ahead, sync func(*os.File) error) (*segment, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("opening audit file: %w", err)
	}
	s, err := newSegment(f, path, number, ahead, sync)
	if err != nil {
		return nil, err
	}
	s.size, s.dirty = size, s.opened.size != size
	if err := s.settle(); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func newSegment(f *os.File, path string, number uint64, ahead *ahead, sync func(*os.File) error) (*segment, error) {
	opened, err := look(path)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening audit file: %w", err)
	}
	return &segment{f: f, path: path, number: number, opened: opened, ahead: ahead, sync: sync}, nil
}

// append writes data and makes it durable, or takes it back. Urgent data need not wait for the segment's own sync.
func (s *segment) append(data []byte, urgent bool) error {
	if err := s.clean(); err != nil {
		return err
	}
	if s.ahead.failed {
		if err := s.settle(); err != nil {
			return err
		}
		if err := s.ahead.remove(); err != nil {
			return err
		}
	}
	_, err := s.f.Write(data)
	if err == nil {
		err = s.store(data, urgent)
	}
	if err != nil {
		s.dirty = true
		return errors.Join(fmt.Errorf("writing audit file: %w", err), s.clean())
	}
	s.size += int64(len(data))
	return nil
}

// store makes durable what was just written. Trouble with the write-ahead file costs time and nothing else.
func (s *segment) store(data []byte, urgent bool) error {
	if urgent && s.ahead.takes(len(data)) {
		err := s.ahead.put(s.number, s.size, data)
		if err == nil {
			return nil
		}
		s.ahead.fail(err)
	}
	return s.flush(s.size + int64(len(data)))
}

// flush syncs the file, which is size bytes long; the write-ahead file begins anew.
func (s *segment) flush(size int64) error {
	if err := s.sync(s.f); err != nil {
		s.stale = s.synced < s.size
		return err
	}
	s.synced, s.cut, s.ahead.pos = size, false, 0
	return nil
}

// settle syncs what only the write-ahead file holds safely, and where the file ends.
func (s *segment) settle() error {
	if err := s.clean(); err != nil {
		return err
	}
	if s.synced == s.size && !s.cut {
		return nil
	}
	if err := s.flush(s.size); err != nil {
		return fmt.Errorf("syncing audit file: %w", err)
	}
	return nil
}

// clean cuts off what a failed write has left. The cut need not be synced at once: until the next sync the file may end in
// lines that were refused, which do no harm in the chain's last file.
func (s *segment) clean() error {
	if s.stale {
		if err := s.rewrite(); err != nil {
			return fmt.Errorf("writing again what was not synced: %w", err)
		}
	}
	if !s.dirty {
		return nil
	}
	if err := s.f.Truncate(s.size); err != nil {
		return fmt.Errorf("cutting off a failed write: %w", err)
	}
	s.dirty, s.cut = false, true
	return nil
}

// rewrite takes what is not synced from the write-ahead file.
func (s *segment) rewrite() error {
	data, err := s.ahead.unsettled()
	if err != nil {
		return err
	}
	if err := s.f.Truncate(s.synced); err != nil {
		return err
	}
	if _, err := s.f.Write(data); err != nil {
		return err
	}
	s.stale, s.dirty, s.cut = false, false, true
	return nil
}

// tampered returns what somebody has done to the file since the last write: an event for a note and its detail, or "".
func (s *segment) tampered() (event, detail string, err error) {
	if err := s.clean(); err != nil {
		return "", "", err
	}
	now, err := look(s.path)
	name := filepath.Base(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "vanished", fmt.Sprintf("file %s was removed while it was being written; its lines are lost", name), nil
	case err != nil:
		return "", "", fmt.Errorf("looking at audit file: %w", err)
	case !now.same(s.opened):
		return "vanished", fmt.Sprintf("file %s was replaced by another while it was being written; its lines are lost", name), nil
	case now.size != s.size:
		return "altered", fmt.Sprintf("file %s has %d bytes, the log wrote %d: somebody else has changed it", name, now.size, s.size), nil
	}
	return "", "", nil
}

// discard takes back a file that never became part of the chain.
func (s *segment) discard() {
	s.f.Close()
	os.Remove(s.path) // an empty file that stays is put aside at the next start
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing audit directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing audit directory: %w", err)
	}
	return nil
}
