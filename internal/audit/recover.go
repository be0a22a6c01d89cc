package audit

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// openFileSink takes up a chain where the last process left it.
func openFileSink(c Config, config FileConfig, key ed25519.PrivateKey) (*fileSink, error) {
	def(&config.MaxSize, 64<<20)
	def(&config.MaxAge, 24*time.Hour)
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the audit directory: %w", err)
	}
	lock, err := lockChain(config.Dir, c.Name)
	if err != nil {
		return nil, err
	}
	s := &fileSink{
		chain: c.Name, config: config, every: c.Checkpoint, key: key, log: c.Log.With("chain", c.Name), sync: c.sync, release: func() {}, lock: lock,
		keeper: newKeeper(config.Dir, c.Name, c.Log),
		ahead:  &ahead{path: aheadPath(config.Dir, c.Name), size: c.aheadBytes, after: c.aheadAfter, sync: c.sync, log: c.Log.With("chain", c.Name)},
		open:   map[string]struct{}{},
	}
	if c.sync == nil {
		s.sync, s.release = newSync()
		s.ahead.sync = syncData // short, and somebody waits: not for two more to be woken
	}
	if err := s.resume(); err != nil {
		s.keeper.close()
		s.release()
		lock.Close()
		return nil, err
	}
	return s, nil
}

// resume finds the chain's end, repairs what a crash has left and writes about it what must be known later.
func (s *fileSink) resume() error {
	changed, err := publishKey(filepath.Join(s.config.Dir, s.chain+".pub"), s.key.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	if err := removeGlob(s.config.Dir, s.chain+"-*.gz.tmp"); err != nil { // half-compressed files
		return err
	}
	greeting := &batch{}
	note := func(event, detail string) {
		s.log.Warn("audit chain was repaired at start", "event", event, "detail", detail)
		greeting.add(noteBody(event, detail))
	}
	if err := s.replay(note); err != nil {
		return err
	}
	found, err := findEnd(s.config.Dir, s.chain)
	if err != nil {
		return err
	}
	for _, torn := range found.torn {
		note("torn_line", torn)
	}
	s.take(found)
	if err := s.catchUp(note); err != nil {
		return err
	}
	if changed {
		note("key_changed", "checkpoints are signed with key "+keyID(s.key.Public().(ed25519.PublicKey))+" from here on")
	}
	s.closeUnknown(found, greeting, note)
	if s.config.Keep > 0 || s.config.MaxTotal > 0 {
		s.expires = time.Now() // look for what is to go with the first write
	}
	if found.current != nil {
		if s.file, err = openSegment(found.current.path, found.size, found.number, s.ahead, s.sync); err != nil {
			return err
		}
	}
	if err := os.Remove(s.ahead.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing audit write-ahead file: %w", err)
	}
	if _, err := s.write(greeting); err != nil {
		return fmt.Errorf("continuing the audit chain: %w", err)
	}
	s.keeper.tidy(nil, s.number)
	return nil
}

// take makes what was found the sink's state.
func (s *fileSink) take(found *end) {
	s.last, s.number, s.since = found.last, found.number, found.since
	s.blank, s.began, s.signed = found.blank, found.began, found.signed
	for id := range found.open {
		s.open[id] = struct{}{}
	}
}

// catchUp compares the chain with the copy of its last checkpoint. Where lines are missing the chain goes on from the
// copy, so that the gap stays visible for ever.
func (s *fileSink) catchUp(note func(event, detail string)) error {
	line, err := os.ReadFile(headPath(s.config.Dir, s.chain))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the last checkpoint's copy: %w", err)
	}
	head, t, ok := parseHead(line)
	if !ok || !t.signedBy(line[:len(line)-1], s.key.Public().(ed25519.PublicKey)) || head.seq <= s.last.seq {
		return nil // a copy nobody vouches for (a power failure can leave it empty), or nothing is missing
	}
	note("truncated", fmt.Sprintf("the chain ended at line %d, but its last checkpoint was line %d: the lines between are lost", s.last.seq, head.seq))
	s.last = head
	return nil
}

func parseHead(line []byte) (link, tail, bool) {
	if len(line) == 0 || line[len(line)-1] != '\n' {
		return link{}, tail{}, false
	}
	t, ok := parseTail(line[:len(line)-1])
	return link{seq: t.seq, hash: hashLine(line[:len(line)-1])}, t, ok
}

// closeUnknown ends intents whose outcome was lost: whether the call reached upstream is not known.
func (s *fileSink) closeUnknown(found *end, greeting *batch, note func(event, detail string)) {
	if len(found.open) == 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(found.open)) {
		r := Record{ID: id}
		if line := found.open[id]; line != nil {
			if err := json.Unmarshal(line, &r); err != nil {
				s.log.Warn("audit intent cannot be read", "id", id, "error", err)
				r = Record{ID: id}
			}
		}
		r.Time, r.Phase, r.Outcome = time.Now(), Outcome, Unknown
		greeting.add(body{own: appendRecord(nil, &r)})
		greeting.marks = append(greeting.marks, entry{id: id, closes: true})
	}
	note("unclosed", fmt.Sprintf("%d intents had no outcome and were closed as unknown", len(found.open)))
}

// end is where a chain was left.
type end struct {
	last    link
	open    map[string][]byte // intents without an outcome: id to line, nil when the line was not found
	torn    []string          // what was set aside
	current *file             // to go on with; nil: begin a new file
	size    int64             // bytes of current that hold whole lines
	signed  uint64            // seq of the last checkpoint
	period
}

// findEnd reads the newest file that holds a line. Files without one, and a torn last line, are set aside.
func findEnd(dir, chain string) (*end, error) {
	chains, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	files := chains[chain]
	e := &end{open: map[string][]byte{}}
	for i, f := range slices.Backward(files) {
		whole, err := e.scan(f)
		if err != nil {
			return nil, err
		}
		if !f.gzip {
			if err := e.setAside(f, whole); err != nil {
				return nil, err
			}
		}
		if e.last.seq == 0 {
			continue
		}
		e.number = f.number
		if !f.gzip {
			e.current, e.size = &f, whole
		}
		return e, e.findIntents(files[:i])
	}
	return e, nil
}

// scan reads one file and returns how many of its bytes hold lines of the chain. Lines in the middle that are none are
// left alone: they are evidence, and verify names them.
func (e *end) scan(f file) (whole int64, err error) {
	b, err := f.open()
	if err != nil {
		return 0, err
	}
	defer b.close()
	var last []byte
	for {
		block, err := b.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("reading audit file %s: %w", f.path, err)
		}
		for offset, line := range lines(block) {
			if _, ok := parseTail(line); !ok {
				continue
			}
			if last == nil {
				e.began = f.began
			}
			e.learn(line)
			last = append(last[:0], line...)
			whole = b.at + int64(offset+len(line)+1)
		}
	}
	if t, ok := parseTail(last); ok {
		e.last = link{seq: t.seq, hash: hashLine(last)}
	}
	return whole, nil
}

// learn takes from a line what the end of the chain depends on.
func (e *end) learn(line []byte) {
	switch p := linePhase(line); p {
	case Intent:
		e.open[lineID(line, p)] = slices.Clone(line)
	case Outcome:
		if len(e.open) > 0 {
			delete(e.open, lineID(line, p))
		}
	case Checkpoint:
		t, _ := parseTail(line)
		e.signed = t.seq
		c, err := parseCheckpoint(line)
		if err != nil {
			return
		}
		if e.since = c.Since; c.File == 0 {
			return
		}
		e.blank = t.seq
		for _, id := range c.Open {
			e.open[id] = nil
		}
	}
}

// setAside moves what follows the whole lines of f into a file beside it, and removes f when nothing else is in it.
func (e *end) setAside(f file, whole int64) error {
	if whole == 0 {
		defer os.Remove(f.path) // an empty file that stays does no harm
	}
	if f.size == whole {
		return nil
	}
	aside := f.path + ".torn"
	n, err := moveTail(f.path, aside, whole)
	if err != nil {
		return fmt.Errorf("setting a torn line aside: %w", err)
	}
	if n > 0 {
		e.torn = append(e.torn, fmt.Sprintf("%d bytes at the end of %s are no whole line and were moved to %s", n, filepath.Base(f.path), filepath.Base(aside)))
	}
	return nil
}

// moveTail appends the bytes of path from offset on to aside, durably, before it cuts them off.
func moveTail(path, aside string, offset int64) (n int64, err error) {
	in, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if _, err := in.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	if n, err = keepAside(aside, in); err != nil {
		return n, err
	}
	if err := in.Truncate(offset); err != nil {
		return n, err
	}
	return n, in.Sync()
}

// keepAside appends what was no line in its place to a file beside it, durably.
func keepAside(path string, from io.Reader) (n int64, err error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(out, from)
	return n, errors.Join(err, out.Sync(), out.Close())
}

// findIntents looks in earlier files for the intents an opening line has named: rotation came between them and the crash.
func (e *end) findIntents(files []file) error {
	missing := 0
	for _, line := range e.open {
		if line == nil {
			missing++
		}
	}
	for _, f := range slices.Backward(files) {
		if missing == 0 {
			return nil
		}
		b, err := f.open()
		if err != nil {
			return err
		}
		for block, err := b.next(); err == nil; block, err = b.next() {
			for _, line := range lines(block) {
				id := lineID(line, Intent)
				if known, ok := e.open[id]; ok && known == nil && linePhase(line) == Intent {
					e.open[id] = slices.Clone(line)
					missing--
				}
			}
		}
		b.close()
	}
	return nil // one that is not found is closed with its id alone
}

func removeGlob(dir, pattern string) error {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	for _, path := range paths {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return fmt.Errorf("removing half-written audit files: %w", err)
	}
	return nil
}
