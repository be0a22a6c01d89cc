package limiter

import (
	"errors"
	"maps"
	"slices"
	"time"
)

const (
	// grace is how long nothing is granted after Redis has lost its memory: long enough for every replica to say what it
	// has under way.
	grace = 1500 * time.Millisecond
	// foldEvery is after how many entries a replica puts their outcome in their place, so that a newcomer reads few.
	foldEvery = 128
	// atRest is how long Redis keeps a group that nobody uses: longer than any known window.
	atRest = 15 * time.Minute
	// touchEvery is how often that is renewed at most.
	touchEvery = time.Minute
	// maxOps bounds one entry.
	maxOps = 512
)

var errContradiction = errors.New("redis contradicts what it told before: it has failed over to a copy that lags, or was restored")

// call is a request of this replica.
type call struct {
	mirror  *mirror
	n       uint64
	slot    *Slot
	ready   chan struct{} // closed when the call is granted, refused or given up
	told    bool          // Redis has its entry
	granted time.Time     // by Redis's clock; zero: it waits
	since   time.Time     // by this replica's clock: when the grant was read
	portion portion       // what it took of this replica's own share; nil: it was granted through Redis
	refused *refusal
	alone   bool // given up in the common queue: this replica's own share is to be asked for
	err     error
}

// mirror is what this replica has read of one group, and what it has to tell it. Its courier's lock guards it.
type mirror struct {
	courier *courier
	scope   string

	ledger  *ledger // nil: nothing has been read
	epoch   string  // "": Redis's group is not known
	read    int     // entries of the epoch
	covers  int     // how many of them Redis keeps as a state
	last    string  // the last entry read
	restore []byte  // what the group was, to be put back where Redis has lost it
	touched time.Time
	clock   clock     // by which the ledger is dated
	heard   time.Time // by this replica's clock: when it last read
	used    time.Time // when it was last asked here
	share   share     // what this replica may spend by itself; nil: not known yet, or Redis answers

	calls    map[uint64]*call // waiting, or granted and not settled
	waiting  int
	outbox   []op
	sending  *entry // told, and not known to have arrived
	seq      uint64
	adjusted bool        // the settings were told
	queued   bool        // in courier.outgoing
	serves   bool        // entries of this replica served others' waiters
	timer    *time.Timer // tells the group that time has passed; nil until first needed
}

// tell adds ops to what is told next.
func (m *mirror) tell(ops ...op) {
	if !m.adjusted {
		m.adjusted = true
		m.outbox = append(m.outbox, op{verb: adjust, settings: *m.courier.shared.settings})
	}
	m.outbox = append(m.outbox, ops...)
	m.courier.send(m)
}

// enter makes a call of slot's.
func (m *mirror) enter(n uint64, slot *Slot) *call {
	k := &call{mirror: m, n: n, slot: slot, ready: make(chan struct{})}
	m.calls[n] = k
	m.waiting++
	m.used = time.Now()
	m.tell(k.op(enter))
	return k
}

func (k *call) op(v verb) op {
	c := &k.slot.claim
	return op{verb: v, n: k.n, kind: c.kind, team: c.team, weight: c.weight, batch: c.batch, again: c.again, asked: c.asked, deadline: c.deadline}
}

// drop forgets k.
func (m *mirror) drop(k *call) {
	delete(m.calls, k.n)
	if k.granted.IsZero() {
		m.waiting--
	}
	m.courier.calls--
}

// page writes what there is to tell and to ask.
func (m *mirror) page(now time.Time) page {
	p := page{scope: m.scope, epoch: m.epoch, read: m.read, covers: m.covers}
	if m.sending == nil && len(m.outbox) > 0 {
		n := min(len(m.outbox), maxOps)
		m.seq++
		m.sending = &entry{m.courier.shared.replica, m.seq, m.outbox[:n:n]}
		m.outbox = m.outbox[n:]
	}
	if m.sending != nil {
		p.entry = m.sending.encode(now)
	}
	switch {
	case m.restore != nil:
		p.state = m.restore
	case m.ledger != nil && m.read-m.covers >= foldEvery:
		p.state, p.covers = m.ledger.encode(), m.read
	}
	if now.Sub(m.touched) >= touchEvery || m.epoch == "" {
		m.touched = now
		p.live = max(atRest, m.held())
	}
	return p
}

// held is how long the group must be remembered because of what upstream said.
func (m *mirror) held() time.Duration {
	longest := time.Duration(0)
	if m.ledger == nil {
		return 0
	}
	for _, l := range m.ledger.lanes {
		for _, b := range l.gates {
			longest = max(longest, b.blocked.Sub(m.ledger.last), b.end.hi.Sub(m.ledger.last)+2*b.period)
		}
	}
	return longest
}

// take reads news. p is what was sent for them.
func (m *mirror) take(n *news, p *page, born time.Time) error {
	if n.lost {
		m.keep()
		m.courier.send(m)
		return nil
	}
	if m.sending != nil {
		for i := range m.sending.ops {
			if o := &m.sending.ops[i]; o.verb == enter && m.calls[o.n] != nil {
				m.calls[o.n].told = true
			}
		}
		m.sending = nil
	}
	again, entries := n.anew, n.entries
	if n.anew {
		if n.epoch == m.epoch && n.from+len(entries) < m.read {
			return errContradiction
		}
		if err := m.begin(n, born); err != nil {
			return err
		}
	} else {
		m.covers = max(m.covers, p.covers)
		if n.from < m.read {
			if len(entries) == 0 || m.last != "" && entries[0] != m.last {
				return errContradiction
			}
			entries = entries[1:]
		}
	}
	for _, raw := range entries {
		buried, err := m.readEntry(raw)
		if err != nil {
			return err
		}
		again = again || buried
	}
	m.clock, m.heard = m.courier.clock, m.courier.heard
	if again {
		m.rejoin()
	}
	m.setTimer()
	return nil
}

// begin starts from the state Redis keeps.
func (m *mirror) begin(n *news, born time.Time) error {
	granularity := m.courier.shared.config.Granularity
	if len(n.state) == 0 {
		m.ledger = newLedger(m.scope, granularity, born.Add(grace))
	} else {
		l, err := decodeLedger(n.state, m.scope, granularity)
		if err != nil {
			return err
		}
		if n.from == 0 { // put back by a replica, which cannot know what the others had under way
			if l.outlived(n.put()) {
				l = l.renewed()
			}
			l.opens = later(l.opens, born.Add(grace))
			l.doubt()
		}
		m.ledger = l
	}
	m.epoch, m.read, m.covers, m.last, m.restore = n.epoch, n.from, n.from, "", nil
	return nil
}

// keep remembers what the group was, since Redis does not. What is put back is dated by the clock that Redis shows now.
func (m *mirror) keep() {
	if m.ledger != nil {
		m.restore = m.ledger.redated(m.clock.shift(&m.courier.clock))
		if l, err := decodeLedger(m.restore, m.scope, m.courier.shared.config.Granularity); err == nil {
			m.ledger, m.clock = l, m.courier.clock
		}
	}
	m.epoch, m.read, m.covers, m.last = "", 0, 0, ""
}

// readEntry applies one entry and reports whether it buried this replica.
func (m *mirror) readEntry(raw string) (buried bool, err error) {
	at, e, err := readEntry(raw)
	if err != nil {
		return false, err
	}
	m.ledger.apply(at, &e)
	m.read++
	m.last = raw
	me := m.courier.shared.replica
	for i := range e.ops {
		buried = buried || e.ops[i].verb == gone && e.ops[i].replica == me
	}
	for _, r := range m.ledger.results {
		switch k := m.calls[r.id.n]; {
		case r.id.replica != me:
			m.serves = m.serves || e.replica == me
		case k != nil:
			k.deliver(r.at, r.refused)
		}
	}
	m.ledger.results = m.ledger.results[:0]
	return buried, nil
}

// deliver ends k's wait.
func (k *call) deliver(at time.Time, refused *refusal) {
	if !k.granted.IsZero() {
		return // told again after Redis lost its memory
	}
	if k.refused = refused; refused != nil {
		k.mirror.drop(k)
	} else {
		k.granted, k.since = at, time.Now()
		k.mirror.waiting--
	}
	close(k.ready)
}

// rejoin tells the group of the requests it does not know, because Redis lost its memory or took this replica for gone.
func (m *mirror) rejoin() {
	for _, n := range slices.Sorted(maps.Keys(m.calls)) {
		k := m.calls[n]
		who := id{m.courier.shared.replica, n}
		waits, has := m.ledger.waiters[who] != nil, m.ledger.claims[who]
		switch {
		case !k.told || waits:
		case has != nil:
			k.deliver(m.ledger.last, nil)
		case k.granted.IsZero():
			k.told = false
			m.tell(k.op(enter))
		default:
			o := k.op(adopt)
			o.asked = k.since // it was sent later than that
			m.tell(o)
		}
	}
	for _, who := range m.ledger.of(m.courier.shared.replica) {
		if m.calls[who.n] != nil {
			continue
		}
		if m.ledger.claims[who] != nil { // what became of it was told, and is forgotten
			m.tell(op{verb: settle, n: who.n, outcome: outcome{what: lost}})
		} else {
			m.tell(op{verb: leave, n: who.n})
		}
	}
}

// setTimer has the group told that time has passed when somebody here waits for it.
func (m *mirror) setTimer() {
	if m.waiting == 0 || m.ledger == nil || m.ledger.wake.IsZero() {
		if m.timer != nil {
			m.timer.Stop()
		}
		return
	}
	wait := max(time.Millisecond, m.courier.clock.until(m.ledger.wake))
	if m.timer == nil {
		m.timer = time.AfterFunc(wait, m.tick)
	} else {
		m.timer.Reset(wait)
	}
}

func (m *mirror) tick() {
	m.courier.mu.Lock()
	defer m.courier.mu.Unlock()
	if m.waiting > 0 {
		m.tell(op{verb: tick})
	}
}
