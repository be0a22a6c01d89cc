package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/audit"
)

// picky is a place that rejects lines with certain words, as a collector rejects a batch for one record.
type picky struct {
	mu    sync.Mutex
	words string
	took  []string // ids, in the order in which they came; some twice
	sends int
}

func (p *picky) shipper() *audit.Shipper {
	return &audit.Shipper{Name: "picky", Send: func(_ context.Context, lines []byte) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sends++
		if bytes.Contains(lines, []byte(p.words)) {
			return fmt.Errorf("%w: it has %s", audit.ErrRejected, p.words)
		}
		for line := range bytes.Lines(lines) {
			var r audit.Record
			if err := r.UnmarshalJSON(line); err != nil {
				return err
			}
			p.took = append(p.took, r.RequestID)
		}
		return nil
	}}
}

// TestARejectedLineDoesNotHoldUpASinkThatIsNotRequired: the one line is dropped and counted, its neighbours arrive, and so
// does what comes later.
func TestARejectedLineDoesNotHoldUpASinkThatIsNotRequired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &picky{words: `"bad"`}
		l := open(t, audit.Config{Sinks: []audit.Sink{{Shipper: place.shipper()}}})
		for i := range 100 {
			r := read()
			if r.RequestID = fmt.Sprint("good-", i); i == 41 {
				r.RequestID = "bad"
			}
			outcome(t, l, r)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i := range 100 {
			if id := fmt.Sprint("good-", i); i != 41 && !slices.Contains(place.took, id) {
				t.Errorf("%s did not arrive", id)
			}
		}
		s := l.Stats()[0]
		if s.Dropped != 1 || s.Recorded != 100 || s.Failed == 0 || s.Waiting != 0 || s.Err != nil { // 99 and the note of the recovery
			t.Errorf("Stats = %+v, want 1 dropped, 100 recorded, none waiting", s)
		}
		if place.sends > 50 {
			t.Errorf("%d sends for one bad line among 100", place.sends)
		}
		later := read()
		later.RequestID = "later"
		outcome(t, l, later)
		closeLog(t, l)
		if !slices.Contains(place.took, "later") {
			t.Error("the next line did not arrive")
		}
	})
}

// TestAPlaceThatRejectsEverythingIsNotAskedForEver: the search for the bad lines of one batch is bounded.
func TestAPlaceThatRejectsEverythingIsNotAskedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &picky{words: `"phase"`}
		l := open(t, audit.Config{Sinks: []audit.Sink{{Shipper: place.shipper()}}})
		for range 10_000 {
			outcome(t, l, read())
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if s := l.Stats()[0]; s.Dropped < 10_000 || place.sends > 1000 {
			t.Errorf("%d lines dropped after %d sends, want 10000 after some hundreds at most", s.Dropped, place.sends)
		}
		closeLog(t, l)
	})
}

// TestARejectedLineKeepsARequiredSinkRefusing: what must be recorded is not dropped, however often it is rejected.
func TestARejectedLineKeepsARequiredSinkRefusing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &picky{words: `"bad"`}
		l := open(t, audit.Config{Sinks: []audit.Sink{{Shipper: place.shipper(), Required: true}}})
		r := read()
		r.RequestID = "bad"
		outcome(t, l, r)
		time.Sleep(time.Hour)
		synctest.Wait()
		refused(t, "Healthy", l.Healthy())
		if s := l.Stats()[0]; s.Dropped != 0 || s.Waiting == 0 || !errors.Is(s.Err, audit.ErrRejected) {
			t.Errorf("Stats = %+v, want the line waiting", s)
		}
		place.mu.Lock()
		place.words = "nothing any more"
		place.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		if err := l.Healthy(); err != nil || !slices.Contains(place.took, "bad") {
			t.Errorf("Healthy = %v, took %q", err, place.took)
		}
		closeLog(t, l)
	})
}
