package identity

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"corp.example/gateway/internal/state"
)

const (
	// flushEvery is how soon the use of a token that was idle shows.
	flushEvery = time.Second
	// useEvery is the least time between two writes of one token: a busy one's last use is exact to that.
	useEvery = 10 * time.Second
	// flushTogether is how many uses are written at the same time; the embedded store makes one fsync of those.
	flushTogether = 32
	// flushTimeout bounds one flush, also the last one at shut-down.
	flushTimeout = 10 * time.Second
)

// use is when a remembered token was last noted and written, in seconds since 1970.
type use struct{ noted, written atomic.Int64 }

// uses records when tokens were used without a write per request: the last use in each second is noted in memory, and
// what was noted is written in batches.
type uses struct {
	store state.Store
	log   *slog.Logger

	mu      sync.Mutex
	pending map[tokenID]usePending // one per token in use; left within useEvery

	quit chan struct{}
	done sync.WaitGroup
}

type usePending struct {
	use         *use
	at, expires time.Time
	from        netip.Addr // zero: not known
}

// lastUse is what the store keeps of a use: the time, and the address where there is one.
func (p usePending) lastUse() []byte {
	text := p.at.UTC().Format(time.RFC3339)
	if p.from.IsValid() {
		text += " " + p.from.String()
	}
	return []byte(text)
}

// parseLastUse reads it. What cannot be read was never.
func parseLastUse(value []byte) (at time.Time, from netip.Addr) {
	when, where, _ := strings.Cut(string(value), " ")
	at, _ = time.Parse(time.RFC3339, when)
	from, _ = netip.ParseAddr(where)
	return at, from
}

func startUses(store state.Store, log *slog.Logger) *uses {
	u := &uses{store: store, log: log, pending: make(map[tokenID]usePending), quit: make(chan struct{})}
	u.done.Go(func() {
		tick := time.NewTicker(flushEvery)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				u.flush(u.due(now.Add(-useEvery)))
			case <-u.quit:
				u.flush(u.due(time.Now()))
				return
			}
		}
	})
	return u
}

// stop writes what is noted and ends.
func (u *uses) stop() {
	close(u.quit)
	u.done.Wait()
}

// note is on the way of every request: for all but the first in a second it is one atomic load.
func (u *uses) note(one *use, id tokenID, from netip.Addr, expires, now time.Time) {
	seconds := now.Unix()
	last := one.noted.Load()
	if seconds <= last || !one.noted.CompareAndSwap(last, seconds) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pending[id] = usePending{one, now, expires, from.Unmap().WithZone("")}
}

// due takes out what is noted of the tokens that were not written since the given time.
func (u *uses) due(since time.Time) map[tokenID]usePending {
	u.mu.Lock()
	defer u.mu.Unlock()
	due := make(map[tokenID]usePending)
	for id, p := range u.pending {
		if p.use.written.Load() <= since.Unix() {
			due[id] = p
			delete(u.pending, id)
		}
	}
	return due
}

func (u *uses) flush(due map[tokenID]usePending) {
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(flushTogether)
	for id, p := range due {
		p.use.written.Store(p.at.Unix())
		group.Go(func() error {
			return u.store.Put(ctx, tableUses, id.String(), p.lastUse(), p.expires)
		})
	}
	if err := group.Wait(); err != nil {
		// Nobody is refused for it; the last use shown is older than it was.
		u.log.Warn("recording the last use of minted tokens", "error", err)
	}
}
