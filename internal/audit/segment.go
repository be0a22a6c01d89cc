package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// segment is the file being written. Its first size bytes are on stable storage and known to the chain; a write that fails
// is cut off again, so that a file never holds lines that the chain in memory does not know.
type segment struct {
	f     *os.File
	path  string
	info  fs.FileInfo // identity, to notice another file at the same path
	size  int64
	dirty bool                 // a failed write could not be cut off yet
	sync  func(*os.File) error // syncData but in tests
}

// createSegment makes a new, empty file.
func createSegment(path string, sync func(*os.File) error) (*segment, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating audit file: %w", err)
	}
	return newSegment(f, path, sync)
}

// openSegment opens an existing file to go on writing after its first size bytes; what follows them is cut off.
func openSegment(path string, size int64, sync func(*os.File) error) (*segment, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("opening audit file: %w", err)
	}
	s, err := newSegment(f, path, sync)
	if err != nil {
		return nil, err
	}
	s.size, s.dirty = size, s.info.Size() != size
	if err := s.clean(); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func newSegment(f *os.File, path string, sync func(*os.File) error) (*segment, error) {
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening audit file: %w", err)
	}
	return &segment{f: f, path: path, info: info, sync: sync}, nil
}

// append writes data and syncs it, or takes it back.
func (s *segment) append(data []byte) error {
	if err := s.clean(); err != nil {
		return err
	}
	_, err := s.f.Write(data)
	if err == nil {
		err = s.sync(s.f)
	}
	if err != nil {
		s.dirty = true
		return errors.Join(fmt.Errorf("writing audit file: %w", err), s.clean())
	}
	s.size += int64(len(data))
	return nil
}

// clean cuts off what a failed write has left. The cut need not be synced: until the next sync the file may end in lines
// that were refused, which do no harm.
func (s *segment) clean() error {
	if !s.dirty {
		return nil
	}
	if err := s.f.Truncate(s.size); err != nil {
		return fmt.Errorf("cutting off a failed write: %w", err)
	}
	s.dirty = false
	return nil
}

// tampered returns what somebody has done to the file since the last write: an event for a note and its detail, or "".
func (s *segment) tampered() (event, detail string, err error) {
	if err := s.clean(); err != nil {
		return "", "", err
	}
	info, err := os.Stat(s.path)
	name := filepath.Base(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "vanished", fmt.Sprintf("file %s was removed while it was being written; its lines are lost", name), nil
	case err != nil:
		return "", "", fmt.Errorf("looking at audit file: %w", err)
	case !os.SameFile(info, s.info):
		return "vanished", fmt.Sprintf("file %s was replaced by another while it was being written; its lines are lost", name), nil
	case info.Size() != s.size:
		return "altered", fmt.Sprintf("file %s has %d bytes, the log wrote %d: somebody else has changed it", name, info.Size(), s.size), nil
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
