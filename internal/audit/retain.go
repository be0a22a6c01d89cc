package audit

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// retirement is which old files go, and where the kept chain begins then.
type retirement struct {
	remove  []file
	since   *since
	gap     string    // says what was already missing
	expires time.Time // when the then oldest file is to go; zero: never
}

// retire plans which files go for their age or for the cap on all of them. The plan is signed, in a checkpoint, before
// anything is removed: a file that is missing without such a line has been taken away by somebody.
func (s *fileSink) retire(now time.Time) (retirement, error) {
	plan := retirement{since: s.since}
	if s.config.Keep <= 0 && s.config.MaxTotal <= 0 {
		return plan, nil
	}
	chains, err := listFiles(s.config.Dir)
	if err != nil {
		return plan, err
	}
	files := chains[s.chain]
	total := int64(0)
	for _, f := range files {
		total += f.size
	}
	n := 0
	for ; n < len(files)-1; n++ { // never the newest
		left := s.retired(files[n+1]) // an earlier plan was not carried out to its end
		aged := s.config.Keep > 0 && !now.Before(files[n+1].began.Add(s.config.Keep))
		over := s.config.MaxTotal > 0 && total > s.config.MaxTotal
		if !left && !aged && !over {
			break
		}
		total -= files[n].size
	}
	plan.remove = files[:n]
	if s.config.Keep > 0 && n < len(files)-1 {
		plan.expires = files[n+1].began.Add(s.config.Keep) // a file is as old as its last line
	}
	if n > 0 {
		err = s.moveSince(&plan, files, n)
	}
	return plan, err
}

// retired reports whether all files before next lie before the place where the kept chain begins.
func (s *fileSink) retired(next file) bool {
	if s.since == nil {
		return false
	}
	t, err := firstTail(next)
	return err == nil && t.seq <= s.since.Seq
}

// moveSince finds where the chain begins once the first n files are gone. Removing them must not hide that somebody else
// has removed some before, so what is missing is noted in the chain.
func (s *fileSink) moveSince(plan *retirement, files []file, n int) error {
	oldest, err := firstTail(files[0])
	if err != nil {
		return err
	}
	kept, err := firstTail(files[n])
	if err != nil {
		return err
	}
	var gaps []string
	if was := s.since; was == nil && oldest.seq > 1 || was != nil && oldest.seq > was.Seq {
		gaps = append(gaps, fmt.Sprintf("all lines before line %d of the chain", oldest.seq))
	}
	for i := range n {
		if from, to := files[i].number+1, files[i+1].number-1; from <= to {
			gaps = append(gaps, fmt.Sprintf("files %d to %d", from, to))
		}
	}
	if len(gaps) > 0 {
		plan.gap = "missing when the files before line " + strconv.FormatUint(kept.seq, 10) + " were removed for their age or size: " + strings.Join(gaps, ", ")
	}
	plan.since = &since{Seq: kept.seq, Prev: hex.EncodeToString(kept.prev[:])}
	return nil
}

func firstTail(f file) (tail, error) {
	b, err := f.open()
	if err != nil {
		return tail{}, err
	}
	defer b.close()
	block, err := b.next()
	if err != nil {
		return tail{}, fmt.Errorf("reading audit file %s: %w", f.path, err)
	}
	for _, line := range lines(block) {
		if t, ok := parseTail(line); ok {
			return t, nil
		}
		break
	}
	return tail{}, fmt.Errorf("audit file %s does not begin with a line of the log: move it away, after verifying", f.path)
}

// keeper compresses complete files and removes retired ones, beside the writer: neither may hold up a line.
type keeper struct {
	dir   string
	chain string
	log   *slog.Logger
	wake  chan struct{} // capacity 1; closed to end
	ends  chan struct{} // closed to end at once
	done  sync.WaitGroup

	mu      sync.Mutex
	remove  []file
	current uint64 // number of the file being written
}

func newKeeper(dir, chain string, log *slog.Logger) *keeper {
	k := &keeper{dir: dir, chain: chain, log: log, wake: make(chan struct{}, 1), ends: make(chan struct{})}
	k.done.Go(func() {
		for range k.wake {
			k.work()
		}
	})
	return k
}

// tidy removes files and compresses those before the current one, soon. The newest it may find is not always the current
// one: a file whose first line cannot be stored is given up again.
func (k *keeper) tidy(remove []file, current uint64) {
	k.mu.Lock()
	k.remove = append(k.remove, remove...)
	k.current = current
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// close ends it; what is left to compress is found at the next start.
func (k *keeper) close() {
	close(k.ends)
	close(k.wake)
	k.done.Wait()
}

// remove removes f under the name it was listed with and under that of its compressed form, whichever there is by now.
func (f file) remove() error {
	for _, path := range []string{f.path, strings.TrimSuffix(f.path, ".gz") + ".gz"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing audit file: %w", err)
		}
	}
	return nil
}

// work compresses one file after the other, the oldest first, until none waits but those that cannot be compressed.
func (k *keeper) work() {
	failed := map[string]bool{}
	for {
		waiting := slices.DeleteFunc(k.update(), func(f file) bool { return failed[f.path] })
		if len(waiting) == 0 {
			return
		}
		path := waiting[0].path
		switch err := compress(path, k.pauses(path, waiting)); {
		case errors.Is(err, errEnded):
			return
		case errors.Is(err, errRetired):
		case err != nil:
			failed[path] = true
			k.log.Warn("audit file is not compressed", "error", err)
		}
	}
}

// update removes what is retired and returns the files that wait to be compressed.
func (k *keeper) update() (waiting []file) {
	k.mu.Lock()
	remove, current := k.remove, k.current
	k.remove = nil
	k.mu.Unlock()
	for _, f := range remove { // oldest first, and none before the one before it: what stays must be the chain's end
		if err := f.remove(); err != nil {
			k.log.Warn("retired audit file stays", "error", err)
			break
		}
	}
	chains, err := listFiles(k.dir)
	if err != nil {
		k.log.Warn("audit files are not compressed", "error", err)
		return nil
	}
	return slices.DeleteFunc(chains[k.chain], func(f file) bool { return f.gzip || f.number >= current })
}

// pauses are those within the compression of one file, of those that wait. The wait for a whole file may be long, so what
// comes up meanwhile is looked after in them: files to be removed, this one perhaps, and others that wait.
func (k *keeper) pauses(path string, waiting []file) func() error {
	return func() error {
		over := time.After(compressPause(waiting, time.Now()))
		for {
			select {
			case <-over:
				return nil
			case <-k.ends:
				return errEnded
			case <-k.wake:
				waiting = k.update()
				if !slices.ContainsFunc(waiting, func(f file) bool { return f.path == path }) {
					return errRetired
				}
			}
		}
	}
}

// compressBytes is how much is compressed at a time, a millisecond's work or less.
const compressBytes = 128 << 10

// leastPause is between two such times where eight files wait or more: a fiftieth of a core, which keeps up with four thousand
// records a second. A lone file, with eight times as much, takes 0.3 % of a core from requests and is done in four minutes, of
// 64 MiB.
const leastPause = 50 * time.Millisecond

// compressPause is between two such times, by how many files wait. While more is recorded than it could keep up with, hurry would
// take from requests and gain nothing: all but one then wait for a quieter hour.
func compressPause(waiting []file, now time.Time) time.Duration {
	const most = 8
	n := min(max(len(waiting), 1), most)
	if n > 1 && waiting[len(waiting)-1].outruns(now) {
		n = 1
	}
	return leastPause * most / time.Duration(n)
}

// outruns reports whether f, the newest complete file, and what came after it were recorded faster than f alone could be
// compressed.
func (f file) outruns(now time.Time) bool {
	took := now.Sub(f.began)
	return took >= 0 && took < time.Duration(f.size/compressBytes)*leastPause // below zero: somebody has set the clock back
}

var (
	errEnded   = errors.New("the audit log was closed")
	errRetired = errors.New("the audit file was retired")
)

// unhurried reads with pauses, until one of them returns an error.
type unhurried struct {
	in    io.Reader
	pause func() error
}

func (u unhurried) Read(p []byte) (int, error) {
	n, err := u.in.Read(p[:min(len(p), compressBytes)])
	if n == compressBytes { // the last part needs none
		if err := u.pause(); err != nil {
			return 0, err
		}
	}
	return n, err
}

// compress replaces path by path.gz, unless a pause returns an error. At every moment one of the two is whole.
func compress(path string, pause func() error) error {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("compressing audit file: %w", err)
	}
	defer in.Close()
	name := strings.TrimSuffix(path, ".jsonl") + ".gz.tmp"
	out, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("compressing audit file: %w", err)
	}
	// The fastest level: most of what it leaves are hashes, which no level makes smaller. The buffer stands between gzip,
	// which hands on a few hundred bytes at a time, and a system call for each.
	gathered := bufio.NewWriterSize(out, 64<<10)
	zip, err := gzip.NewWriterLevel(gathered, gzip.BestSpeed)
	if err == nil {
		_, err = io.CopyBuffer(zip, unhurried{in, pause}, make([]byte, compressBytes))
		err = errors.Join(err, zip.Close(), gathered.Flush(), out.Sync())
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		err = os.Rename(name, path+".gz")
	}
	if err != nil {
		os.Remove(name)
		return fmt.Errorf("compressing audit file: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing compressed audit file: %w", err)
	}
	return nil
}
