package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
)

// readBlock is how much is read at once: large enough for disk speed, small enough that a search over many files stays
// far below 64 MiB.
const readBlock = 256 << 10

// blocks reads a file in blocks of whole lines. It is the base of every reader: a search can look through a block without
// splitting it.
type blocks struct {
	file *os.File
	raw  counted
	from io.Reader // raw, or the decompressor on top of it
	buf  []byte
	used int   // bytes in buf
	done int   // bytes at the front of buf that were handed out
	at   int64 // offset of buf's first byte in the uncompressed file
}

// counted counts the bytes that came from disk, for progress.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// open opens the file for reading, compressed or not. A plain file that has just been compressed is found under its new
// name.
func (f file) open() (*blocks, error) {
	in, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) && !f.gzip {
		f.path, f.gzip = f.path+".gz", true
		in, err = os.Open(f.path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening audit file: %w", err)
	}
	b := &blocks{file: in, raw: counted{r: in}, buf: make([]byte, readBlock)}
	b.from = &b.raw
	if f.gzip {
		unzip, err := gzip.NewReader(bufio.NewReaderSize(&b.raw, 64<<10))
		if err != nil {
			in.Close()
			return nil, fmt.Errorf("opening audit file %s: %w", f.path, err)
		}
		b.from = unzip
	}
	return b, nil
}

func (b *blocks) close() { b.file.Close() } // nothing was written: there is nothing to lose

// next returns the next whole lines, newlines included, valid until the next call. io.EOF ends it; what then remains
// without a newline is in rest. More than maxLine bytes without a newline are handed out as they are: no line of ours.
func (b *blocks) next() ([]byte, error) {
	b.at += int64(b.done)
	b.used = copy(b.buf, b.buf[b.done:b.used])
	b.done = 0
	for {
		if b.used == len(b.buf) {
			b.buf = append(b.buf, make([]byte, len(b.buf))...) // up to twice maxLine, see below
		}
		n, err := b.from.Read(b.buf[b.used:])
		fresh := b.buf[b.used : b.used+n]
		b.used += n
		if end := bytes.LastIndexByte(fresh, '\n'); end >= 0 {
			b.done = b.used - n + end + 1
			return b.buf[:b.done], nil
		}
		if b.used > maxLine {
			b.done = b.used
			return b.buf[:b.used], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// rest is what follows the last newline once next has returned io.EOF.
func (b *blocks) rest() []byte { return b.buf[:b.used] }

// lines splits a block into lines without their newlines, each with its offset in the block.
func lines(block []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for start := 0; start < len(block); {
			end := bytes.IndexByte(block[start:], '\n')
			if end < 0 {
				end = len(block) - start
			}
			if !yield(start, block[start:start+end]) {
				return
			}
			start += end + 1
		}
	}
}
