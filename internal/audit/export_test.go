package audit

import (
	"hash/maphash"
	"log/slog"
	"os"
	"slices"
	"time"
)

// WithSync replaces the sync of a file, so that a test can hang or fail it.
func WithSync(c Config, sync func(*os.File) error) Config {
	c.sync = sync
	return c
}

// EncodeLine writes r as the line after the first line of a chain.
func EncodeLine(r *Record) []byte {
	line, _ := link{seq: 1}.appendLine(nil, body{own: appendRecord(nil, r)})
	return line
}

// ParseTail reads a line's tail and reports whether there is one.
func ParseTail(line []byte) (seq uint64, ok bool) {
	t, ok := parseTail(line)
	return t.seq, ok
}

// The bounds tests stay below or go beyond.
const (
	MaxLine    = maxLine
	RetryEvery = retryEvery
)

// Keeper compresses and removes the files of a folder.
type Keeper struct{ *keeper }

// NewKeeper starts one for a chain.
func NewKeeper(dir, chain string, log *slog.Logger) Keeper {
	return Keeper{newKeeper(dir, chain, log)}
}

// Tidy has the files with the given numbers removed and those before the current one compressed.
func (k Keeper) Tidy(current uint64, remove ...uint64) error {
	chains, err := listFiles(k.dir)
	k.tidy(slices.DeleteFunc(chains[k.chain], func(f file) bool { return !slices.Contains(remove, f.number) }), current)
	return err
}

// Close ends it.
func (k Keeper) Close() { k.close() }

// CompressAtOnce is the keeper's work on one complete file, without its pauses.
func CompressAtOnce(path string) error { return compress(path, func() error { return nil }) }

// AppendRecord encodes a line's body.
func AppendRecord(dst []byte, r *Record) []byte { return appendRecord(dst, r) }

// StampAt sets what the log would set.
func StampAt(r *Record, p Phase, at time.Time) { r.Phase, r.Time = p, at }

// AppendLine completes a body to a line.
func AppendLine(dst, own []byte) []byte {
	dst, _ = link{seq: 1}.appendLine(dst, body{own: own})
	return dst
}

// WithAhead makes the write-ahead file of so many bytes after so many batches.
func WithAhead(c Config, size int64, after int) Config {
	c.aheadBytes, c.aheadAfter = size, after
	return c
}

// Recent remembers parts of lines.
type Recent struct{ of recent }

// NewRecent returns one that remembers nothing yet.
func NewRecent() *Recent { return &Recent{recent{seed: maphash.MakeSeed()}} }

// AppendRecord encodes a line's body.
func (c *Recent) AppendRecord(dst []byte, r *Record) []byte {
	line := c.of.appendRecord(dst, r)
	return append(line.own, line.shared...)
}

// Shared returns what the line of r shares with others.
func (c *Recent) Shared(r *Record) []byte { return c.of.appendRecord(nil, r).shared }

// Kept returns the records of whose lines something is remembered, and the text that is.
func (c *Recent) Kept() (records []Record, texts []string) {
	for _, s := range c.of.slots {
		if s.shared != nil {
			records, texts = append(records, s.record), append(texts, string(s.shared))
		}
	}
	return records, texts
}
