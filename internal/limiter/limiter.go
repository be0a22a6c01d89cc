// Package limiter makes every request wait its fair turn for upstream's quota, so that upstream answers no 429, none of
// the quota is wasted, and no team starves another.
//
// Invariant: as long as nobody outside the gateway spends the same quota, no window as upstream counts it ever sees
// more of the gateway's requests than its limit, however long answers take and in whatever order they come.
//
// Deciding and keeping are apart. A group is a machine that only computes: its state follows from what it was told and
// when. Memory keeps groups in this process. Shared keeps in Redis the order in which all replicas told them what, and
// each replica computes the same from it. docs/limiter.md explains the algorithm and what it assumes of upstream. The
// package sends nothing upstream, judges nobody, and counts no metrics: it returns facts.
package limiter

import (
	"context"
	"time"

	"corp.example/gateway/internal/catalog"
)

// Limiter is Memory or Shared.
type Limiter interface {
	// Acquire waits until a request may be sent and returns its slot. It fails with a *problem.Error (429 queue_timeout,
	// with RetryAfter) at once where the turn would come too late or the queue is full, with another (503
	// limiter_unavailable) where the quota cannot be counted, and with the context's error when the caller left.
	Acquire(ctx context.Context, a Ask) (*Slot, error)

	// Quota returns what a call of op in this scope can still expect: of all limits it spends, the one with the least
	// remaining, and how long until that one's next window begins (zero: none is running).
	Quota(owner, scope string, op *catalog.Operation) (limit, remaining int, reset time.Duration)

	// Waiting returns how many requests wait in this process, by limit class.
	Waiting() map[string]int

	// Snapshot returns every bucket that is kept, whichever replica uses it, sorted by owner, scope, class, operation and
	// period.
	Snapshot() []BucketState
}

// Ask is one request for a slot.
type Ask struct {
	Owner   string             // whose quota is spent: the credential's owner
	Scope   string             // "project:ref", "organization:slug" or "account"
	Op      *catalog.Operation // what is called
	Team    string             // whose share of a contended bucket it takes
	Weight  int                // the team's weight; below 1 counts as 1
	MaxWait time.Duration      // how long it may wait; zero or more than Config.MaxWait: Config.MaxWait; negative: not at all
	Batch   bool               // yields to the same team's other requests
}
