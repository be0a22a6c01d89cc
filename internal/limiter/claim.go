package limiter

import (
	"time"

	"corp.example/gateway/internal/catalog"
)

// claim is one request as the arithmetic sees it: what it wants, and the places it has got.
type claim struct {
	id       id // zero where one process keeps everything
	kind     kind
	team     string
	weight   int
	batch    bool
	again    bool      // upstream refused it: it keeps its seniority and has paid its share
	asked    time.Time // when its caller first asked
	deadline time.Time // when its caller will not wait any longer
	waited   time.Duration
	taken    []taken
	inline   [4]taken // room for what most calls take, to spare an allocation
	settled  bool     // it is known what became of it
}

// id names a claim among those of all replicas.
type id struct {
	replica string
	n       uint64
}

// kind is what the arithmetic knows of an operation.
type kind struct {
	operation string // id
	class     string // limit class
	limits    []catalog.Limit
}

// taken is a place in one bucket.
type taken struct {
	bucket *bucket
	place  place
}

// what says what became of a request that had its places.
type what uint8

const (
	answered what = iota // by anything but a 429
	limited              // by a 429
	lost                 // sent, or perhaps sent, and no answer will come
	unsent               // it surely never left
)

// outcome is what became of a request, and what its answer told.
type outcome struct {
	what    what
	headers headers
	vague   bool // an error of something in front of upstream's counter, perhaps
}

// settle takes what became of c into account, once.
func (g *group) settle(now time.Time, c *claim, o outcome) {
	if c.settled {
		return
	}
	c.settled = true
	switch o.what {
	case answered:
		g.answered(now, c, o.headers, o.vague)
		return
	case limited:
		g.refused(now, c, o.headers)
		return
	}
	for _, t := range c.taken {
		t.bucket.advance(now)
		if o.what == lost {
			t.bucket.lose(now, t.place)
		} else if t.bucket.unsend(t.place) {
			t.bucket.shares.add(c.team, c.weight, -1)
		}
	}
}
