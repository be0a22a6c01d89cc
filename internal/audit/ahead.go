package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
)

// ahead is a file beside a chain's, NAME.ahead, through which batches that somebody waits for reach stable storage: each
// goes to the end of the segment, unsynced, and as a record over blocks of this file that were written before. Syncing
// those changes nothing in the file system's own tables and takes half as long. A sync of the segment settles all of it:
// writing then begins again at the front. So every whole record says what its segment holds, or must be made to hold after
// a power failure; those that an earlier round has left behind the last one say so too.
type ahead struct {
	path  string
	size  int64 // of the file
	after int   // batches until it is made
	sync  func(*os.File) error
	log   *slog.Logger

	f       *os.File // nil: not made
	made    standing
	batches int   // that could have used it
	pos     int64 // where the next record goes; what lies before it is not settled
	failed  bool  // a record may stand at pos though its batch was refused: the file is to go before another is recorded
	off     bool  // it is not made again
	buf     []byte
}

const (
	// aheadBytes is some hundred groups of intents, so that few of them sync the segment, and little enough that this sync
	// and a start's reading take milliseconds.
	aheadBytes = 4 << 20
	// aheadAfter is about when the file has cost as much as it would have saved: an operator's command never makes one.
	aheadAfter = 100
	// aheadBlock is what records are aligned to, no less than what disks and page caches write at once: a record that is
	// torn takes none before it along.
	aheadBlock = 4096
	// aheadMagic begins a record and cannot stand in a line, which has no control characters.
	aheadMagic  = "\x00ahead1\n"
	aheadHeader = len(aheadMagic) + 8 + 8 + 4 + 4 // the segment's number, offset in it, length, checksum
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func aheadPath(dir, chain string) string { return filepath.Join(dir, chain+".ahead") }

// takes reports whether n bytes that somebody waits for have room. It makes the file once that pays; where that fails
// segments are synced as if it were never tried.
func (a *ahead) takes(n int) bool {
	if a.off || a.failed {
		return false
	}
	if a.f == nil {
		if a.batches++; a.batches <= a.after {
			return false
		}
		if err := a.create(); err != nil {
			a.off = true
			a.log.Warn("audit write-ahead file cannot be made: writes wait for the slower sync of the log itself", "error", err)
			return false
		}
	}
	return a.pos+aheadSpan(n) <= a.size
}

// aheadSpan is what a record of n bytes takes, whole blocks.
func aheadSpan(n int) int64 {
	return int64(aheadHeader+n+aheadBlock-1) / aheadBlock * aheadBlock
}

func (a *ahead) create() error {
	f, err := os.OpenFile(a.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, a.size))
	if err == nil {
		err = a.sync(f)
	}
	if err == nil {
		a.made, err = look(a.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(a.path))
	}
	if err != nil {
		f.Close()
		return errors.Join(err, os.Remove(a.path)) // it would take up the room that the log is short of
	}
	a.f = f
	return nil
}

// put makes data, which belongs at an offset of a segment, durable. After an error the record may be there or not.
func (a *ahead) put(number uint64, at int64, data []byte) error {
	if err := a.present(); err != nil {
		return err
	}
	span := aheadSpan(len(data))
	a.buf = append(a.buf[:0], aheadMagic...)
	a.buf = binary.LittleEndian.AppendUint64(a.buf, number)
	a.buf = binary.LittleEndian.AppendUint64(a.buf, uint64(at))
	a.buf = binary.LittleEndian.AppendUint32(a.buf, uint32(len(data)))
	a.buf = binary.LittleEndian.AppendUint32(a.buf, aheadSum(a.buf, data))
	a.buf = append(a.buf, data...)
	a.buf = append(a.buf, make([]byte, int(span)-len(a.buf))...) // whole blocks need not be read first
	if _, err := a.f.WriteAt(a.buf, a.pos); err != nil {
		return err
	}
	if err := a.sync(a.f); err != nil {
		return err
	}
	a.pos += span
	return nil
}

// present notices that somebody has removed the file: its records would be lost with this process.
func (a *ahead) present() error {
	now, err := look(a.path)
	if err == nil && !now.same(a.made) {
		err = fmt.Errorf("%s was replaced by another file", a.path)
	}
	return err
}

// fail gives the file up after an error.
func (a *ahead) fail(err error) {
	a.failed = true
	a.log.Error("audit write-ahead file cannot be written: writes wait for the slower sync of the log itself", "error", err)
}

// remove takes the file away for good. Nothing in it may be unsettled.
func (a *ahead) remove() error {
	if a.f == nil {
		return nil
	}
	if err := os.Remove(a.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing audit write-ahead file: %w", err)
	}
	if err := syncDir(filepath.Dir(a.path)); err != nil {
		return err
	}
	a.f.Close()
	a.f, a.failed, a.off = nil, false, true
	return nil
}

// unsettled returns what the segment is yet to be synced for, in order.
func (a *ahead) unsettled() ([]byte, error) {
	data := make([]byte, a.pos)
	if _, err := a.f.ReadAt(data, 0); err != nil {
		return nil, fmt.Errorf("reading audit write-ahead file: %w", err)
	}
	var all []byte
	for r := range aheadRecords(data) {
		all = append(all, r.data...)
	}
	return all, nil
}

// aheadRecord is a part of a segment.
type aheadRecord struct {
	number uint64 // of the segment
	at     int64  // offset in it
	data   []byte
}

func aheadSum(header, data []byte) uint32 {
	return crc32.Update(crc32.Checksum(header, castagnoli), castagnoli, data)
}

// aheadRecords reads the records from the front until one is not whole, or belongs to another segment than the first:
// before a segment begins, the one before it is synced.
func aheadRecords(data []byte) iter.Seq[aheadRecord] {
	return func(yield func(aheadRecord) bool) {
		number := uint64(0)
		for len(data) >= aheadHeader && string(data[:len(aheadMagic)]) == aheadMagic {
			fields := data[len(aheadMagic):aheadHeader]
			r := aheadRecord{number: binary.LittleEndian.Uint64(fields), at: int64(binary.LittleEndian.Uint64(fields[8:]))}
			n, sum := int64(binary.LittleEndian.Uint32(fields[16:])), binary.LittleEndian.Uint32(fields[20:])
			if n > int64(len(data)-aheadHeader) || number != 0 && r.number != number {
				return
			}
			r.data = data[aheadHeader:][:n]
			if aheadSum(data[:aheadHeader-4], r.data) != sum || !yield(r) {
				return
			}
			number = r.number
			data = data[min(aheadSpan(int(n)), int64(len(data))):]
		}
	}
}

// readAhead reads the records that the last process has left; none where there is no file.
func readAhead(dir, chain string) ([]aheadRecord, error) {
	f, err := os.Open(aheadPath(dir, chain))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading audit write-ahead file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, aheadBytes))
	if err != nil {
		return nil, fmt.Errorf("reading audit write-ahead file: %w", err)
	}
	var all []aheadRecord
	for r := range aheadRecords(data) {
		all = append(all, r)
	}
	return all, nil
}
