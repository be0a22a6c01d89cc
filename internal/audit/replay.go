package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// replay puts back into the newest file what a power failure has kept from it and the write-ahead file holds. Doing it
// twice, or half and then again, does no harm. After a process was killed there is nothing to do: the segment holds it all.
func (s *fileSink) replay(note func(event, detail string)) error {
	records, err := readAhead(s.config.Dir, s.chain)
	if err != nil || len(records) == 0 {
		return err
	}
	chains, err := listFiles(s.config.Dir)
	if err != nil {
		return err
	}
	target, settled := aheadTarget(chains[s.chain], records)
	if settled {
		return nil
	}
	n := int64(0)
	if target != nil {
		if n, err = putBack(target.path, records, s.sync); err != nil && !errors.Is(err, errUnplaced) {
			return fmt.Errorf("putting back what the write-ahead file holds: %w", err)
		}
	}
	if n > 0 {
		note("replayed", fmt.Sprintf("%d bytes of %s were lost in a power failure and put back from %s", n, filepath.Base(target.path), filepath.Base(s.ahead.path)))
	}
	if target != nil && err == nil {
		return nil
	}
	// Somebody has taken the file or cut it: only a person can tell what these lines are worth.
	aside := s.ahead.path + ".torn"
	if err := os.Rename(s.ahead.path, aside); err != nil {
		return fmt.Errorf("setting the write-ahead file aside: %w", err)
	}
	note("unplaced", fmt.Sprintf("%s holds lines of file %d from byte %d on, and there is no such place: it was moved to %s",
		filepath.Base(s.ahead.path), records[0].number, records[0].at, filepath.Base(aside)))
	return nil
}

// aheadTarget finds the file that the records belong to; nil: it is not there. A file was synced before the next one
// began and before it was compressed, so its records are settled.
func aheadTarget(files []file, records []aheadRecord) (target *file, settled bool) {
	number := records[0].number
	i, found := slices.BinarySearchFunc(files, number, func(f file, n uint64) int { return cmp.Compare(f.number, n) })
	switch {
	case !found:
		return nil, i < len(files)
	case files[i].gzip:
		return nil, true
	}
	return &files[i], false
}

var errUnplaced = errors.New("the file ends before the place of its lines")

// putBack writes into the file at path what it lacks, and syncs it. What stood there and is not zeros is kept beside it.
func putBack(path string, records []aheadRecord, sync func(*os.File) error) (n int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for _, r := range records {
		stood, err := bytesAt(f, r)
		if err != nil {
			return n, err
		}
		if bytes.Equal(stood, r.data) {
			continue
		}
		if len(bytes.Trim(stood, "\x00")) > 0 {
			if _, err := keepAside(path+".torn", bytes.NewReader(stood)); err != nil {
				return n, err
			}
		}
		if _, err := f.WriteAt(r.data, r.at); err != nil {
			return n, err
		}
		n += int64(len(r.data))
	}
	return n, sync(f)
}

// bytesAt reads what stands at the place of r.
func bytesAt(f *os.File, r aheadRecord) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < r.at {
		return nil, errUnplaced
	}
	stood := make([]byte, len(r.data))
	n, err := f.ReadAt(stood, r.at)
	if err == io.EOF {
		err = nil
	}
	return stood[:n], err
}

// lacking returns how many bytes the write-ahead file holds that are missing in the chain's file of that number.
func lacking(dir, chain string) (n int, number uint64, err error) {
	records, err := readAhead(dir, chain) // first: a running gateway writes to its segment before it does here
	if err != nil || len(records) == 0 {
		return 0, 0, err
	}
	chains, err := listFiles(dir)
	if err != nil {
		return 0, 0, err
	}
	target, settled := aheadTarget(chains[chain], records)
	if settled {
		return 0, 0, nil
	}
	var f *os.File // nil: reading from it is an error, and all is missing
	if target != nil {
		if f, err = os.Open(target.path); errors.Is(err, fs.ErrNotExist) {
			return 0, 0, nil // complete by now, and compressed
		} else if err != nil {
			return 0, 0, err
		}
		defer f.Close()
	}
	for _, r := range records {
		if stood, err := bytesAt(f, r); err != nil || !bytes.Equal(stood, r.data) {
			n += len(r.data)
		}
	}
	return n, records[0].number, nil
}
