package limiter

import "time"

// What a replica spends by itself while Redis is away, where it is told to: its part of what was left, and nothing it does
// not know. Requests are told to the others when Redis is back.

const (
	// shareUsed is how long after its last request a scope is kept read, in case Redis goes away. Longer than most windows.
	shareUsed = 2 * time.Minute
	// fellowFor is how long a replica that has not shown itself is still reckoned with.
	fellowFor = 15 * time.Second
)

// fellows is what a courier knows of the other replicas, and whether it is alone now. Its lock guards it.
type fellows struct {
	first    time.Time     // when this replica first showed itself
	replicas int           // that are there, this one included, when Redis was last heard; zero: not known
	alone    bool          // Redis has been away for long, and this replica spends its share
	news     chan struct{} // closed when a share has changed; nil until somebody waits for that
}

// share is what one replica may spend of a scope, by bucket of its ledger, which rests meanwhile.
type share map[*bucket]*allowance

// allowance is what one replica may spend of one bucket.
type allowance struct {
	window  window    // when Redis was last heard
	until   time.Time // nothing is sent after; zero: no window ran, and the next is for all replicas to share
	parts   int       // the replicas that share
	most    int       // that may still be sent in all, by what upstream has told since
	spent   int
	flying  int
	learned bool // an answer has told what is left; before it one goes alone, since the others may have spent unseen
}

// portion is what one request took of this replica's share.
type portion []part

type part struct {
	taken     taken
	allowance *allowance
}

// meet counts the replicas that are there.
func (c *courier) meet(a *answer) {
	if c.first.IsZero() {
		c.first = c.heard
	}
	c.replicas = 0
	for _, at := range a.alive {
		if a.now.Sub(at) <= fellowFor {
			c.replicas++
		}
	}
}

// goAlone begins to spend the share: those who wait in the queue that replicas share ask there.
func (c *courier) goAlone() {
	c.clearQueue(func(k *call) { k.alone = true })
	if !c.alone {
		c.alone = true
		c.changed()
	}
}

// endAlone forgets the shares.
func (c *courier) endAlone() {
	c.alone = false
	for _, m := range c.mirrors {
		m.share = nil
	}
}

// changed wakes those who wait for a share.
func (c *courier) changed() {
	if c.news != nil {
		close(c.news)
		c.news = nil
	}
}

// awayWait is what a request waits for while Redis is away.
type awayWait struct {
	back, changed <-chan struct{}
	hold          time.Duration // how long it waits
	cause         error
}

// spend grants slot from this replica's share, or tells what to wait for. Both are nil where Redis is not away.
func (c *courier) spend(slot *Slot) (*call, *awayWait) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away.IsZero() {
		return nil, nil
	}
	now := time.Now()
	if m := c.mirrors[slot.ask.Scope]; c.alone && m != nil {
		if p := m.portion(now, &slot.claim); p != nil {
			return m.grantAlone(now, slot, p), nil
		}
	}
	if c.news == nil {
		c.news = make(chan struct{})
	}
	hold := holdAway
	if c.shared.config.ShareAway && !c.alone { // it begins then
		hold += c.away.Add(holdAway).Sub(now)
	}
	return nil, &awayWait{c.back, c.news, hold, c.cause}
}

// grantAlone makes a call that is granted already. Redis is told when it is back.
func (m *mirror) grantAlone(now time.Time, slot *Slot, p portion) *call {
	c := m.courier
	c.calls++
	c.numbers++
	k := &call{mirror: m, n: c.numbers, slot: slot, told: true, granted: c.clock.now(), since: now, portion: p}
	m.calls[k.n] = k
	for _, part := range p {
		part.allowance.spent++
		part.allowance.most--
		part.allowance.flying++
	}
	o := k.op(adopt)
	o.asked = now
	m.tell(o)
	return k
}

// portion returns what a request may take of this replica's share; nil: nothing, now or at all.
func (m *mirror) portion(now time.Time, r *claim) portion {
	c := m.courier
	known := c.replicas > 0 && c.heard.Sub(c.first) >= holdAway && // the others know of this replica
		m.ledger != nil && m.epoch != "" && c.heard.Sub(m.heard) < goneAfter && m.clock.since(m.ledger.opens) >= 0
	if !known {
		return nil
	}
	l := m.ledger.find(&r.kind)
	if l == nil {
		return nil
	}
	buckets := l.gates
	if side := l.sides[r.kind.operation]; side != nil {
		buckets = append(buckets[:len(buckets):len(buckets)], side.gates...)
	}
	p := make(portion, len(buckets))
	for i, b := range buckets {
		a := m.allowance(b)
		if !a.open(m.clock.told.Add(now.Sub(m.clock.sent)), a.free(m.ledger.settings, b, r.team)) {
			return nil
		}
		p[i] = part{taken{bucket: b}, a}
	}
	return p
}

// allowance returns what may be spent of b.
func (m *mirror) allowance(b *bucket) *allowance {
	if a := m.share[b]; a != nil {
		return a
	}
	if m.share == nil {
		m.share = share{}
	}
	w := b.window
	w.advance(m.clock.told)
	a := &allowance{window: w, parts: m.courier.replicas, most: w.limit}
	if w.open {
		a.until = w.end.lo
	}
	m.share[b] = a
	return a
}

// free is what the window had left for a team, all replicas together.
func (a *allowance) free(s *settings, b *bucket, team string) int {
	return a.window.free(s.Headroom) - b.reserved(s.Reserve, team, a.window.limit, a.window.others)
}

// open reports whether one more may go at now, by Redis's clock at the latest.
func (a *allowance) open(now time.Time, free int) bool {
	w := &a.window
	switch {
	case w.learning || !w.speaks || !w.blocked.IsZero(): // it is not known what was left
		return false
	case !a.until.IsZero() && !now.Before(a.until): // nor what is left of the window after
		return false
	case !a.learned && a.flying > 0:
		return false
	}
	return a.most > 0 && a.spent < free/a.parts
}

// settle learns from what became of a request.
func (p portion) settle(o outcome) {
	all := make([]taken, len(p))
	for i := range p {
		all[i] = p[i].taken
	}
	gate, side := about(all, o.headers.limit)
	for _, part := range p {
		a := part.allowance
		a.flying--
		switch {
		case o.what == unsent:
			a.spent--
			a.most++
		case o.what == limited:
			a.most = 0
		case !a.learned && o.what == answered && o.headers.limit > 0 && o.headers.remaining >= 0 && (part.taken.bucket == gate || part.taken.bucket == side):
			// Each other replica may have its first request still under way; what it sends after that it takes from less.
			a.most = min(a.most, (int(o.headers.remaining)-(a.parts-1))/a.parts)
			a.learned = true
		}
	}
}
