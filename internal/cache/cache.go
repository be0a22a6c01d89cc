// Package cache answers reads from memory, and where a service has several replicas from what one of them has put into
// Redis: it decides what may be stored and for how long (RFC 9111), finds it again, fetches identical reads once, and
// forgets what a write has touched.
//
// Invariants: a representation is found only under the credential view that fetched it; a read that began before a write
// to one of its scopes is neither used nor joined by a read that begins after that write was reported, on any replica
// (redis.go says how); memory stays within Config.Memory. No request fails because of the cache: what cannot be stored is
// handed on, and without Redis each replica goes on alone.
//
// The package does not decide who may see an answer. Its caller authorises before Get and narrows after it, and hands
// over no header or body that the credential's other users may not see.
package cache

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/internal/seal"
)

// The defaults and bounds of Config.
const (
	DefaultMemory  = 256 << 20
	DefaultMaxBody = 8 << 20         // the largest list known is under 1 MiB; larger answers are exports, read once
	DefaultTimeout = 2 * time.Minute // limits.max_wait (50 s) and upstream.timeout (60 s), and some air
	minMemory      = 1 << 20         // below this a single list could not be held
)

// Config is what the cache is built from. The zero value is a cache with every default.
type Config struct {
	Memory       int64         // bytes for stored answers and the cache's own tables, overhead included; 0: DefaultMemory; below 1 MiB is an error
	MaxBody      int           // bytes of the largest body stored or shared; 0: DefaultMaxBody
	StaleIfError time.Duration // how long past its freshness an answer may stand in for a failed fetch where upstream says nothing (RFC 5861 section 4); 0: not at all
	Timeout      time.Duration // how long one fetch may take, its wait in the queue included; 0: DefaultTimeout

	// Forwards tells whether a client's header of this (canonical) name reaches upstream. What does not reach it cannot
	// have selected the answer, so Vary is heeded for the others only. nil: every header is forwarded.
	Forwards func(name string) bool

	// IgnoreCookies are the names of cookies that upstream may set with what is stored for everybody, since they tell
	// connections apart and not clients. They go to no client: Answer.Cookies are withheld.
	IgnoreCookies []string

	// Backplane is what the replicas of one service have in common. nil: this one is alone.
	Backplane *backplane.Backplane
	// Keys seal what is kept in Redis. nil: it is kept as it is.
	Keys *seal.Keys
}

// Cache holds answers in memory. It is safe for concurrent use.
type Cache struct {
	maxBody      int
	staleIfError time.Duration
	timeout      time.Duration
	forwards     func(string) bool

	ignoreCookies []string

	fence   *fence
	memory  *memory
	flights flights
	gzips   gzipPool
	ids     atomic.Uint64 // the last entry's id
	shared  *shared       // nil where there are no other replicas
}

// New builds a cache. The error names the setting that is out of bounds.
func New(config Config) (*Cache, error) {
	if config.Memory == 0 {
		config.Memory = DefaultMemory
	}
	if config.Memory < minMemory {
		return nil, fmt.Errorf("cache memory of %d bytes: give it at least %d", config.Memory, minMemory)
	}
	if config.MaxBody == 0 {
		config.MaxBody = DefaultMaxBody
	}
	if config.MaxBody < 0 || config.StaleIfError < 0 || config.Timeout < 0 {
		return nil, fmt.Errorf("cache bounds must not be negative: body %d, stale_if_error %s, timeout %s",
			config.MaxBody, config.StaleIfError, config.Timeout)
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	if config.Forwards == nil {
		config.Forwards = func(string) bool { return true }
	}
	memory, err := newMemory(uint64(config.Memory - fenceSize))
	if err != nil {
		return nil, err
	}
	c := &Cache{
		maxBody:      config.MaxBody,
		staleIfError: config.StaleIfError,
		timeout:      config.Timeout,
		forwards:     config.Forwards,

		ignoreCookies: config.IgnoreCookies,

		fence:   new(fence),
		memory:  memory,
		flights: flights{byKey: make(map[Key]*flight)},
		gzips:   newGzipPool(),
	}
	if config.Backplane != nil {
		c.shared = newShared(config.Backplane, config.Keys, c.fence, func() { c.dropDead() })
	}
	return c, nil
}

// Close takes leave of the other replicas. Reads and writes go on without them.
func (c *Cache) Close() {
	if c.shared != nil {
		c.shared.close()
	}
}

// Key names what is asked for. All its parts are compared; none of them is a caller's token.
type Key struct {
	View      string // whose credential fetches it: answers never cross from one view to another
	Operation string // catalogue id
	Path      string // raw, as forwarded
	Query     string // canonical
}

// Request is what the cache must know of a client's read.
type Request struct {
	Key        Key
	Header     http.Header // as the client sent it, for Vary; only read
	Directives Directives
}

// Rule is what the gateway itself says about an operation's answers.
type Rule struct {
	TTL    time.Duration // freshness where upstream says nothing; 0: then it is not stored
	Scopes []string      // what a write must touch to invalidate it, such as "project:ref", "organization:slug", "account"
	Secret bool          // the answer carries secrets: it is neither stored nor shared between requests
	Errors bool          // store error answers, too: any for as long as upstream says, 404, 405, 410, 414 and 501 else for TTL; never one about our credential or quota
	Strict bool          // never serve an answer older than TTL: not for longer, though upstream allows it, nor in place of a failed fetch
}

// Get looks for a stored answer that may be served at now. Result.Entry is nil where there is none; Result.Status then
// says why. Where Result.Refresh is set, serve the entry and call Refresh.
func (c *Cache) Get(r Request, now time.Time) Result {
	return c.find(r, now).withoutUnserved()
}

// find is Get, but leaves the entry that may not be served in place: it is what a fetch validates.
func (c *Cache) find(r Request, now time.Time) Result {
	if r.Directives.NoStore {
		return unserved(r.Directives, nil, Bypass, fwdRequest)
	}
	variants := c.memory.get(slot{Key: r.Key})
	if len(variants) == 0 {
		return unserved(r.Directives, nil, Miss, fwdMiss)
	}
	e := choose(variants, r.Header)
	if e == nil {
		return unserved(r.Directives, nil, Miss, fwdVary)
	}
	if !c.fence.holds(e.kept.marks) || !c.trusted() {
		return unserved(r.Directives, e, Expired, fwdStale)
	}
	return c.judge(e, r, now)
}

// judge says what may be done for a request with an entry that no write has touched.
func (c *Cache) judge(e *Entry, r Request, now time.Time) Result {
	switch use := e.fresh.judge(r.Directives, now); use {
	case useFresh:
		return Result{Entry: e, Status: Hit}
	case useStale:
		return Result{Entry: e, Status: Stale, detail: detailMaxStale}
	case useWhileRevalidate:
		return Result{Entry: e, Status: Stale, Refresh: true, detail: detailWhileRevalidate}
	case useRequested:
		return unserved(r.Directives, e, Requested, fwdRequest)
	default:
		return unserved(r.Directives, e, Expired, fwdStale)
	}
}

// unserved is the outcome of a look-up that must go on to upstream, or may not (RFC 9111 section 5.2.1.7).
func unserved(d Directives, e *Entry, status Status, forward string) Result {
	if d.OnlyIfCached {
		return Result{Entry: e, Status: NotCached, forward: forward}
	}
	return Result{Entry: e, Status: status, forward: forward}
}

// Invalidate makes everything that was read from the scopes before now unusable until upstream has validated it, fetches
// in flight included. It costs the same however much is stored. Call it when a write's outcome is known and before its
// client hears of it; a write that certainly failed needs none, one with an unknown outcome does. With replicas it returns
// when none of them can answer from before the write any more: after two round trips, or a second or so where one of them
// or Redis does not answer.
func (c *Cache) Invalidate(scopes ...string) {
	if len(scopes) > 0 {
		c.raise(noticeRaise, c.fence.indexes(scopes))
	}
}

func (c *Cache) raise(kind notice, indexes []uint32) {
	c.fence.raise(indexes...)
	if c.shared != nil {
		c.shared.announce(kind, indexes)
		c.fence.raise(indexes...) // what came out of Redis meanwhile may be from before
	}
}

// trusted tells whether memory may be believed: without other replicas it always may.
func (c *Cache) trusted() bool { return c.shared == nil || c.shared.trusted() }

// OperationScope is the scope of every answer of one operation. Every entry has it without being told.
func OperationScope(id string) string { return "operation:" + id }

// PathScope is the scope of every answer found under one raw path, whatever its query (RFC 9111 section 4.4: the target
// URI, Location and Content-Location of a write). Every entry has it without being told.
func PathScope(path string) string { return "path:" + path }

// Purge invalidates the scopes, or everything where none is given, and frees the memory at once. It returns how many
// entries went. It walks all entries: for administrators, not for writes.
func (c *Cache) Purge(scopes ...string) int {
	c.raise(noticePurge, c.fence.indexes(scopes))
	if c.shared != nil {
		c.shared.sweepLater()
	}
	return c.dropDead()
}

func (c *Cache) dropDead() int {
	return c.memory.dropIf(func(e *Entry) bool { return !c.fence.holds(e.kept.marks) })
}

// Stats is how full the cache is.
type Stats struct {
	Bytes   int64 // weight of what is stored, overhead included
	Entries int   // stored keys; narrowed forms count
	Flights int   // fetches under way that others may join
}

// Stats tells how full the cache is.
func (c *Cache) Stats() Stats {
	return Stats{Bytes: c.memory.bytes(), Entries: c.memory.entries(), Flights: c.flights.count()}
}
