package limiter

import (
	"strconv"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
)

// putBack is a mirror that reads, so long after the state's last entry, a group which a replica has put back. The state
// knows of one request under way and of one that waits, both of a replica that is gone.
func putBack(t *testing.T, after time.Duration, blocked time.Time) *mirror {
	t.Helper()
	l := newLedger("account", PerScope, time.Time{})
	small := kind{"v1-small", "small", []catalog.Limit{{N: 1, Window: time.Minute}}}
	l.apply(at(0), &entry{"gone", 1, []op{{verb: adjust, settings: settings{Granularity: PerScope, QueuePerTeam: 9, QueuePerBucket: 9}},
		{verb: enter, n: 1, kind: small, left: time.Hour}, {verb: enter, n: 2, kind: small, left: time.Hour}}})
	l.lanes["small"].gates[0].blocked = blocked
	s := &Shared{config: SharedConfig{Config: Config{Granularity: PerScope}}, replica: "me"}
	m := &mirror{courier: &courier{shared: s}, scope: "account"}
	put := at(0).Add(after)
	n := &news{epoch: "memory@" + strconv.FormatInt(put.UnixMicro(), 10), state: l.encode(), anew: true}
	if err := m.begin(n, put); err != nil {
		t.Fatal(err)
	}
	if m.ledger.opens.Before(put.Add(grace)) {
		t.Errorf("grants from %s, want none before the others can have said what they have under way", m.ledger.opens)
	}
	return m
}

// What a replica puts back is worth what the windows are worth that it knows of.
func TestAStateThatIsPutBackTooLate(t *testing.T) {
	for name, test := range map[string]struct {
		after   time.Duration
		blocked time.Time
		kept    bool
	}{
		"its window runs":                   {59 * time.Second, time.Time{}, true},
		"its window is over":                {61 * time.Second, time.Time{}, false},
		"what upstream refused holds still": {61 * time.Second, at(3600), true},
		"it was refused, and that is over":  {2 * time.Hour, at(3600), false},
	} {
		t.Run(name, func(t *testing.T) {
			l := putBack(t, test.after, test.blocked).ledger
			if kept := len(l.claims) == 1 && l.waiting == 1; kept != test.kept {
				t.Errorf("%d requests under way and %d waiting, want them kept: %v", len(l.claims), l.waiting, test.kept)
			}
		})
	}
}

// A state that is put back by the clock as it was set since has its windows end when they end.
func TestAStateIsRedated(t *testing.T) {
	l := newLedger("account", PerScope, time.Time{})
	l.apply(at(0), &entry{"one", 1, []op{{verb: adjust, settings: settings{Granularity: PerScope, QueuePerTeam: 9, QueuePerBucket: 9}}, {verb: enter, n: 1, kind: kind{"v1-a", "a", general}, left: time.Minute}}})
	before := l.lanes["a"].gates[0].end
	later, err := decodeLedger(l.redated(time.Hour, time.Second), "account", PerScope)
	if err != nil {
		t.Fatal(err)
	}
	want := span{before.lo.Add(time.Hour - time.Second), before.hi.Add(time.Hour + time.Second)}
	if got := later.lanes["a"].gates[0].end; !got.lo.Equal(want.lo) || !got.hi.Equal(want.hi) {
		t.Errorf("the window ends in %v, want %v", got, want)
	}
	if want := at(3600); !later.last.Equal(want) {
		t.Errorf("last entry at %s, want %s", later.last, want)
	}
}

// A request that this replica has settled, in a state that does not know so, is not carried from window to window.
func TestASettledRequestInAnOldState(t *testing.T) {
	m := putBack(t, time.Second, time.Time{})
	m.courier.shared.replica = "gone" // the very one
	m.courier.wake = make(chan struct{}, 1)
	m.courier.shared.settings = &settings{}
	m.rejoin()
	e := entry{"gone", 2, m.outbox}
	m.ledger.apply(at(3), &e)
	if n := len(m.ledger.claims) + m.ledger.waiting; n != 0 {
		t.Errorf("%d requests under way or waiting, want none", n)
	}
}

// Looking at a window leaves it as it was.
func TestLookingKeepsStrays(t *testing.T) {
	l := newLedger("account", PerScope, time.Time{})
	k := kind{"v1-a", "a", []catalog.Limit{{N: 9, Window: 3 * time.Second}}}
	l.apply(at(0), &entry{"one", 1, []op{{verb: adjust, settings: settings{Granularity: PerScope, QueuePerTeam: 9, QueuePerBucket: 9}}, {verb: enter, n: 1, kind: k, left: time.Minute}}})
	l.apply(at(1), &entry{"one", 2, []op{{verb: settle, n: 1, outcome: outcome{what: lost}}}})
	before := string(l.encode())
	for _, seconds := range []float64{2, 14, 60} {
		l.quota(at(seconds), &k)
		l.appendState(nil, at(seconds), "bot")
	}
	if string(l.encode()) != before {
		t.Error("looking has changed the ledger")
	}
}
