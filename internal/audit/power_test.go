package audit_test

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/audit"
)

// failures is how many histories TestWhatWasRecordedSurvivesPowerFailures takes through theirs.
var failures = flag.Int("failures", 60, "how many histories of power failures to try")

// disk is a disk behind a page cache, as seen through a log's syncs. It remembers what of each file has reached stable
// storage: what was synced, and blocks of the rest as chance has it. At one of the syncs the power fails.
type disk struct {
	rnd    *rand.Rand
	dir    string
	after  string  // the directory as the power failure leaves it
	until  int     // syncs until then
	faulty float64 // share of syncs that fail

	mu       sync.Mutex // the test's own goroutines ask too
	stable   map[string][]byte
	firm     map[string]int  // length of each segment when something was last synced
	kept     map[string]bool // promised at the moment of the failure
	promised map[string]bool // lines, by phase and id
	down     bool
	made     bool // a write-ahead file: later removals of it are stable at once
}

const diskBlock = 512

func newDisk(rnd *rand.Rand, dir, after string, promised map[string]bool) *disk {
	d := &disk{rnd: rand.New(rand.NewPCG(rnd.Uint64(), 0)), dir: dir, after: after, until: 1 + rnd.IntN(60), stable: map[string][]byte{}, firm: map[string]int{}, promised: maps.Clone(promised)}
	if rnd.IntN(2) == 0 {
		d.faulty = 0.15
	}
	for _, path := range d.files() { // what a failure has left is stable
		d.stable[path], _ = os.ReadFile(path)
		d.firm[path] = len(d.stable[path])
	}
	return d
}

// files are those whose syncs are seen. Everything else is stable as it is.
func (d *disk) files() []string {
	segments, _ := filepath.Glob(filepath.Join(d.dir, "*.jsonl"))
	ahead, _ := filepath.Glob(filepath.Join(d.dir, "*.ahead"))
	return append(segments, ahead...)
}

func (d *disk) sync(f *os.File) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil
	}
	path := f.Name()
	now, err := os.ReadFile(path)
	if err != nil {
		return nil // removed by now
	}
	d.until--
	if d.until == 0 && d.rnd.IntN(2) == 0 {
		return d.fail()
	}
	for _, other := range d.files() { // the kernel writes back when it likes
		if d.rnd.IntN(4) == 0 {
			data, _ := os.ReadFile(other)
			d.stable[other] = d.mix(other, d.stable[other], data)
		}
	}
	if d.rnd.Float64() < d.faulty {
		d.stable[path] = d.mix(path, d.stable[path], now)
		d.drop(path, now)
		return errors.New("input/output error")
	}
	d.stable[path] = now
	d.made = d.made || filepath.Ext(path) == ".ahead"
	for _, file := range d.files() {
		if len(bytes.Trim(now, "\x00")) == 0 {
			break // the write-ahead file is made
		}
		if info, err := os.Stat(file); err == nil {
			d.firm[file] = int(info.Size())
		}
	}
	if d.until <= 0 {
		return d.fail()
	}
	return nil
}

// mix is a file of which some blocks have been written back, and perhaps its length. Of a segment's last batch, which is
// promised to nobody, the end may be missing, but nothing before it: what starts do about such holes is not asked here.
func (d *disk) mix(path string, old, now []byte) []byte {
	mixed := make([]byte, []int{len(old), len(now)}[d.rnd.IntN(2)])
	copy(mixed, old)
	firm := len(now)
	if filepath.Ext(path) == ".jsonl" {
		firm = min(firm, d.firm[path])
	}
	for at := 0; at < min(len(mixed), firm); at += diskBlock {
		if d.rnd.IntN(2) == 0 {
			copy(mixed[at:min(at+diskBlock, len(mixed))], now[at:min(at+diskBlock, firm)])
		}
	}
	if len(mixed) > firm && d.rnd.IntN(2) == 0 {
		clear(mixed[firm:])
		copy(mixed[firm:], now[firm:firm+d.rnd.IntN(len(now)-firm+1)])
	}
	return mixed
}

// drop is what a kernel may do after an error: it takes the pages for clean, and reads them from the disk when asked again.
func (d *disk) drop(path string, now []byte) {
	onDisk := make([]byte, len(now))
	copy(onDisk, d.stable[path])
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	f.WriteAt(onDisk, 0)
}

// fail leaves the directory as it is found when the power is back.
func (d *disk) fail() error {
	d.down = true
	d.kept = maps.Clone(d.promised)
	for {
		err := d.copyTo(d.after)
		if !errors.Is(err, fs.ErrNotExist) { // a file was compressed in this moment
			return err
		}
		os.RemoveAll(d.after)
	}
}

func (d *disk) copyTo(dir string) error {
	if err := os.CopyFS(dir, os.DirFS(d.dir)); err != nil {
		return err
	}
	for _, path := range d.files() {
		to := filepath.Join(dir, filepath.Base(path))
		old, known := d.stable[path]
		if !known && d.rnd.IntN(2) == 0 {
			os.Remove(to) // its name was not stable either
			continue
		}
		now, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(to, d.mix(path, old, now), 0o600)
		}
		if err != nil {
			return err
		}
	}
	path := filepath.Join(d.dir, "audit.ahead")
	data, found := d.stable[path]
	if _, err := os.Stat(path); err == nil || !found || d.made || d.rnd.IntN(2) == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o600) // its removal at the start was not stable
}

func (d *disk) promise(phase audit.Phase, ids ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range ids {
		d.promised[string(phase)+" "+id] = true
	}
}

func (d *disk) isDown() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.down
}

// live lets calls of all kinds be recorded until the power fails.
func (d *disk) live(rnd *rand.Rand, c audit.Config) {
	var l *audit.Log
	var err error
	for l == nil && !d.isDown() {
		if l, err = audit.Open(audit.WithSync(c, d.sync)); err != nil {
			l = nil
		}
	}
	if l == nil {
		return
	}
	defer l.Close()
	var open []audit.Record
	var waiting []string // outcomes that are not promised yet
	for !d.isDown() {
		switch rnd.IntN(8) {
		case 0, 1, 2: // a group of writes, often of one
			group := make([]audit.Record, max(1, rnd.IntN(12)-6))
			var all sync.WaitGroup
			for i := range group {
				group[i] = write()
				all.Go(func() {
					if l.Intent(ctx, &group[i]) == nil {
						d.promise(audit.Intent, group[i].ID)
					}
				})
			}
			all.Wait()
			open = append(open, group...)
		case 3, 4:
			if len(open) == 0 {
				continue
			}
			r := open[0]
			open = open[1:]
			r.Status, r.Outcome = 200, "ok"
			if l.Outcome(ctx, &r) == nil {
				waiting = append(waiting, r.ID)
			}
		case 5:
			r := read()
			if l.Outcome(ctx, &r) == nil {
				waiting = append(waiting, r.ID)
			}
			time.Sleep(time.Second)
		case 6:
			time.Sleep(audit.RetryEvery)
		case 7:
			time.Sleep(10 * time.Second) // a checkpoint is due
		}
		synctest.Wait()
		if l.Stats()[0].Waiting == 0 {
			d.promise(audit.Outcome, waiting...)
			waiting = nil
		}
	}
}

// TestWhatWasRecordedSurvivesPowerFailures takes logs through several power failures each, with syncs that fail, and wants
// every line that a caller was told is recorded, once, in a chain that is whole.
func TestWhatWasRecordedSurvivesPowerFailures(t *testing.T) {
	replayed := 0
	for seed := range *failures {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(seed)))
			c := files("")
			c.Sinks[0].File.MaxSize = []int64{0, 12_000}[rnd.IntN(2)]
			c = audit.WithAhead(c, 32<<10, 1)
			dir, promised := t.TempDir(), map[string]bool{}
			for range 3 {
				c.Sinks[0].File.Dir = dir
				d := newDisk(rnd, dir, filepath.Join(t.TempDir(), "log"), promised)
				d.live(rnd, c)
				dir, promised = d.after, d.kept
			}
			notes := reopened(t, dir)
			replayed += strings.Count(notes, " replayed: ")
			for _, bad := range []string{"truncated", "vanished", "altered", "unplaced"} {
				if strings.Contains(notes, " "+bad+": ") {
					t.Errorf("seed %d: notes %q", seed, notes)
				}
			}
			found := map[string]int{}
			for r, err := range audit.Search(ctx, dir, audit.Filter{}) {
				if err != nil {
					t.Fatal(err)
				}
				found[string(r.Phase)+" "+r.ID]++
			}
			for _, line := range slices.Sorted(maps.Keys(promised)) {
				if found[line] == 0 {
					t.Errorf("seed %d: %s is lost", seed, line)
				}
			}
			for line, n := range found {
				if n > 1 {
					t.Errorf("seed %d: %s stands there %d times", seed, line, n)
				}
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if replayed < *failures/4 {
		t.Errorf("%d of %d histories had lines to put back: the test proves little", replayed, *failures)
	}
	t.Logf("%d notes of lines put back", replayed)
}
