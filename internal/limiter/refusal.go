package limiter

import (
	"fmt"
	"net/http"
	"time"

	"corp.example/gateway/internal/problem"
)

// refusal is why a request was turned away, as facts: only the caller it concerns has them put into words.
type refusal struct {
	full    bool          // the queue is; otherwise its turn comes too late
	name    string        // of the bucket
	ahead   int           // how many go before it
	wait    time.Duration // until its turn, about
	patient time.Duration // how long it was willing to wait
	team    string
	own     int // how many of its team wait
	waiting int // how many wait in all
}

// refusal returns why a request must not be queued, or nil.
func (g *group) refusal(now time.Time, l *lane, c *claim) *refusal {
	ahead := 0
	if !c.again {
		ahead = l.queue.ahead(c.team, c.weight, c.batch)
	}
	turn := l.turn(now, g.settings, c.team, c.weight, ahead)
	if turn.After(c.deadline) || !c.deadline.After(now) {
		return g.late(now, l, c, ahead, turn)
	}
	if c.again { // it had its place in the queue before
		return nil
	}
	own := 0
	if line := l.queue.lines[c.team]; line != nil {
		own = line.len()
	}
	if own >= g.settings.QueuePerTeam || g.waiting >= g.settings.QueuePerBucket {
		return &refusal{full: true, name: g.name(l), wait: max(time.Second, turn.Sub(now)), team: c.team, own: own, waiting: g.waiting}
	}
	return nil
}

// late is the refusal of a request whose turn does not come in time.
func (g *group) late(now time.Time, l *lane, c *claim, ahead int, turn time.Time) *refusal {
	return &refusal{name: g.name(l), ahead: ahead, wait: max(time.Second, turn.Sub(now)), patient: c.deadline.Sub(c.asked)}
}

// problem puts it into words.
func (r *refusal) problem() error {
	var p *problem.Error
	if r.full {
		p = problem.New(http.StatusTooManyRequests, problem.QueueTimeout,
			"The queue for %s is full: %d requests wait, %d of them of team %q. Send fewer at a time.", r.name, r.waiting, r.own, r.team)
	} else {
		p = problem.New(http.StatusTooManyRequests, problem.QueueTimeout,
			"Upstream's rate limit leaves no turn within %g s: position %d in the queue for %s, whose turn comes in about %g s. Come back then.",
			r.patient.Round(100*time.Millisecond).Seconds(), r.ahead+1, r.name, r.wait.Round(time.Second).Seconds())
	}
	p.RetryAfter = r.wait
	return p
}

// name is what people call the lane's bucket.
func (g *group) name(l *lane) string {
	b := l.gates[0]
	switch {
	case b.operation != "":
		return fmt.Sprintf("%s, operation %s", g.scope, b.operation)
	case b.class != defaultClass:
		return fmt.Sprintf("%s, limit class %s", g.scope, b.class)
	}
	return g.scope
}

// tooManyScopes is the problem of a request in one more scope than can be counted.
func tooManyScopes() error {
	p := problem.New(http.StatusServiceUnavailable, problem.LimiterUnavailable,
		"The gateway is counting as many projects and organizations as it can. Try again later.")
	p.RetryAfter = time.Minute // the length of most windows
	return p
}
