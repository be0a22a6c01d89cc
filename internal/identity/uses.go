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
	// useEvery is how exact the last use is. People look at it in days.
	useEvery = time.Minute
	// flushTogether is how many uses are written at the same time; the embedded store makes one fsync of those.
	flushTogether = 32
	// flushTimeout bounds one flush, also the last one at shut-down.
	flushTimeout = 10 * time.Second
)

// use is when a remembered token was last noted, in seconds since 1970.
type use struct{ noted atomic.Int64 }

// uses records when tokens were used without a write per request: the first use in each minute is noted in memory, and
// what was noted is written once a minute.
type uses struct {
	store state.Store
	log   *slog.Logger

	mu      sync.Mutex
	pending map[tokenID]usePending // one per token at most, emptied each minute

	quit chan struct{}
	done sync.WaitGroup
}

type usePending struct {
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
		tick := time.NewTicker(useEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				u.flush()
			case <-u.quit:
				u.flush()
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

// note is on the way of every request: for all but the first in a minute it is one atomic load.
func (u *uses) note(one *use, id tokenID, from netip.Addr, expires, now time.Time) {
	seconds := now.Unix()
	last := one.noted.Load()
	if seconds-last < int64(useEvery/time.Second) || !one.noted.CompareAndSwap(last, seconds) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pending[id] = usePending{now, expires, from.Unmap().WithZone("")}
}

func (u *uses) flush() {
	u.mu.Lock()
	pending := u.pending
	u.pending = make(map[tokenID]usePending)
	u.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(flushTogether)
	for id, p := range pending {
		group.Go(func() error {
			return u.store.Put(ctx, tableUses, id.String(), p.lastUse(), p.expires)
		})
	}
	if err := group.Wait(); err != nil {
		// Nobody is refused for it; the last use shown is older than it was.
		u.log.Warn("recording the last use of minted tokens", "err", err)
	}
}
