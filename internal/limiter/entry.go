package limiter

import (
	"time"

	"corp.example/gateway/internal/catalog"
)

// verb is what an op does.
type verb uint8

const (
	enter   verb = iota // asks for a slot
	adopt               // counts a request that is on its way, whose slot Redis no longer knows
	settle              // says what became of a slot
	leave               // gives up a place in the queue, or a slot that was not used
	gone                // says that a replica is no longer there
	doubt               // says that requests may have been sent which nobody counted
	adjust              // sets the settings
	tick                // says only that time has passed
	regroup             // says that replicas may have spent shares by themselves, and may not have told yet
)

// op is one thing that a replica tells a group.
type op struct {
	verb verb
	n    uint64 // the claim's number, among the replica's

	kind     kind // enter, adopt
	team     string
	weight   int
	batch    bool
	again    bool
	asked    time.Time // by the replica's clock; on its way only as age
	deadline time.Time // by the replica's clock; on its way only as left
	age      time.Duration
	left     time.Duration

	outcome  outcome // settle
	replica  string  // gone
	settings settings
}

// entry is what one replica told one group at a time. Redis puts entries in order and dates them.
type entry struct {
	replica string
	seq     uint64 // among the replica's entries to this group: one that arrives twice counts once
	ops     []op
}

// encode writes e as of now, by the replica's clock.
func (e *entry) encode(now time.Time) []byte {
	for i := range e.ops {
		o := &e.ops[i]
		o.age, o.left = now.Sub(o.asked), o.deadline.Sub(now)
	}
	c := codec{bytes: make([]byte, 0, 64+96*len(e.ops))}
	c.entry(e)
	return c.bytes
}

func decodeEntry(bytes []byte) (entry, error) {
	c := codec{bytes: bytes, reading: true}
	var e entry
	c.entry(&e)
	if c.bad {
		return entry{}, errCorrupt
	}
	return e, nil
}

func (c *codec) entry(e *entry) {
	c.text(&e.replica)
	integer(c, &e.seq)
	elements(c, &e.ops, c.op)
}

func (c *codec) op(o *op) {
	integer(c, &o.verb)
	switch o.verb {
	case enter, adopt:
		integer(c, &o.n)
		c.kind(&o.kind)
		c.text(&o.team)
		integer(c, &o.weight)
		c.bool(&o.batch)
		c.bool(&o.again)
		c.duration(&o.age)
		c.duration(&o.left)
	case settle:
		integer(c, &o.n)
		c.outcome(&o.outcome)
	case leave:
		integer(c, &o.n)
	case gone:
		c.text(&o.replica)
	case adjust:
		c.settings(&o.settings)
	}
}

func (c *codec) kind(k *kind) {
	c.text(&k.operation)
	c.text(&k.class)
	elements(c, &k.limits, func(l *catalog.Limit) {
		integer(c, &l.N)
		c.duration(&l.Window)
	})
}

func (c *codec) outcome(o *outcome) {
	integer(c, &o.what)
	c.int64(&o.headers.limit)
	c.int64(&o.headers.remaining)
	c.int64(&o.headers.reset)
	c.duration(&o.headers.retryAfter)
	c.bool(&o.vague)
}

func (c *codec) settings(s *settings) {
	c.text((*string)(&s.Granularity))
	integer(c, &s.Headroom)
	integer(c, &s.QueuePerTeam)
	integer(c, &s.QueuePerBucket)
	elements(c, &s.Reserve, func(r *Reserve) {
		c.text(&r.Team)
		c.float(&r.Share)
	})
}
