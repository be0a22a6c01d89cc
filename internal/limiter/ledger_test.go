package limiter

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
)

// A replica that begins with a snapshot knows what one knows that has read every entry, and decides the same ever after.
func TestASnapshotLosesNothing(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		granularity := []Granularity{Auto, PerScope, PerEndpoint}[seed%3]
		whole := newLedger("account", granularity, at(1))
		folded := whole
		now := at(0)
		c := Config{Granularity: granularity}
		c = c.filled()
		seq := uint64(0)
		for range 600 {
			now = now.Add(time.Duration(r.IntN(400)) * time.Millisecond)
			seq++
			replica := fmt.Sprint("replica-", r.IntN(3))
			ops := []op{{verb: adjust, settings: *c.settings()}, randomOp(r, whole)}
			raw := (&entry{replica, seq, ops}).encode(now)
			for _, l := range []*ledger{whole, folded} {
				e, err := decodeEntry(raw)
				if err != nil {
					t.Fatal(err)
				}
				l.apply(now, &e)
			}
			if fmt.Sprint(whole.results) != fmt.Sprint(folded.results) && !sameResults(whole.results, folded.results) {
				t.Fatalf("seed %d: decided %v and %v", seed, whole.results, folded.results)
			}
			whole.results, folded.results = nil, nil
			if r.IntN(20) == 0 {
				var err error
				if folded, err = decodeLedger(whole.encode(), "account", granularity); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(whole.encode(), folded.encode()) {
				t.Fatalf("seed %d: the ledgers differ after entry %d", seed, seq)
			}
		}
	}
}

func sameResults(a, b []result) bool {
	ids := func(all []result) map[id]bool {
		set := map[id]bool{}
		for _, r := range all {
			set[r.id] = r.refused == nil
		}
		return set
	}
	return len(a) == len(b) && fmt.Sprint(ids(a)) == fmt.Sprint(ids(b))
}

// randomOp draws something that a replica may say: of a request that is there, if there are any.
func randomOp(r *rand.Rand, l *ledger) op {
	name := fmt.Sprint("v1-", r.IntN(2))
	o := op{n: uint64(r.IntN(5000)), kind: kind{name, "drawn", []catalog.Limit{{N: 12, Window: 20 * time.Second}, {N: 3, Window: time.Second}}},
		team: fmt.Sprint(r.IntN(3)), weight: 1 + r.IntN(3), batch: r.IntN(3) == 0, asked: at(0), deadline: at(float64(r.IntN(300)))}
	for who := range l.claims {
		o.n = who.n
		break
	}
	switch draw := r.IntN(20); {
	case draw < 10:
		o.verb, o.n = enter, uint64(r.IntN(1<<30))
	case draw < 15:
		o.verb = settle
		o.outcome.headers = headers{limit: 12, remaining: int64(r.IntN(12)), reset: int64(r.IntN(20))}
		o.outcome.what = what(r.IntN(4))
	case draw < 17:
		o.verb = leave
	case draw < 18:
		o.verb = adopt
	case draw < 19:
		o.verb, o.replica = gone, fmt.Sprint("replica-", r.IntN(3))
	default:
		o.verb = doubt
	}
	return o
}

// An entry that arrives twice counts once.
func TestAnEntryCountsOnce(t *testing.T) {
	l := newLedger("account", PerScope, time.Time{})
	e := entry{"one", 1, []op{{verb: adjust, settings: settings{QueuePerTeam: 9, QueuePerBucket: 9}}, {verb: enter, n: 1, kind: kind{"v1-a", "a", general}, left: time.Minute}}}
	l.apply(at(0), &e)
	l.apply(at(1), &e)
	if b := l.lanes["a"].gates[0]; b.count != 1 {
		t.Errorf("%d places taken, want 1", b.count)
	}
}
