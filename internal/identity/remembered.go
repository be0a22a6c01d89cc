package identity

import (
	"crypto/subtle"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// maxRememberedBytes bounds each of the two caches: some ten thousand callers with claims of a KiB.
	maxRememberedBytes = 64 << 20
	// rememberJWT is the longest a JWT counts as verified. It is there for issuers whose tokens live for days: a key they
	// withdraw must stop working some time.
	rememberJWT = time.Hour
	// rememberToken is how long a minted token counts as verified without a look at the store. A revocation is heard of at
	// once; this bounds the harm where word of it is lost.
	rememberToken = time.Minute
)

// rememberedJWTs holds callers by the hash of the JWT that proved them. Only good tokens get in, so nobody can fill it
// without being able to make them.
type rememberedJWTs struct {
	cache *otter.Cache[tokenHash, jwtEntry]
}

type jwtEntry struct {
	caller *Caller
	until  time.Time
	weight uint32
}

func newRememberedJWTs() *rememberedJWTs {
	return &rememberedJWTs{otter.Must(&otter.Options[tokenHash, jwtEntry]{
		MaximumWeight: maxRememberedBytes,
		Weigher:       func(_ tokenHash, e jwtEntry) uint32 { return e.weight },
	})}
}

// weightOf estimates the memory of a caller whose claims take this many bytes as JSON: decoded they take some four times
// that.
func weightOf(encoded int) uint32 { return uint32(1024 + 4*min(encoded, maxRememberedBytes/4)) }

func (r *rememberedJWTs) get(hash tokenHash, now time.Time) *Caller {
	e, ok := r.cache.GetIfPresent(hash)
	if !ok || !now.Before(e.until) {
		return nil
	}
	return e.caller
}

// put remembers the caller of a token of size bytes, and returns the one that is remembered: of several requests that
// come first together, all get the same.
func (r *rememberedJWTs) put(hash tokenHash, caller *Caller, size int) *Caller {
	now := time.Now()
	fresh := jwtEntry{caller, earlier(caller.Expires, now.Add(rememberJWT)), weightOf(size)}
	kept, _ := r.cache.Compute(hash, func(old jwtEntry, found bool) (jwtEntry, otter.ComputeOp) {
		if found && now.Before(old.until) {
			return old, otter.CancelOp
		}
		return fresh, otter.WriteOp
	})
	if kept.caller == nil {
		return caller
	}
	return kept.caller
}

// rememberedTokens holds callers by the public id of their minted token, so that a revocation, which names the id,
// finds them.
type rememberedTokens struct {
	cache *otter.Cache[tokenID, *tokenEntry]
	// changes counts what was heard of the store. A look-up that began before a change must not be remembered after it,
	// or a token revoked in between would live on.
	changes atomic.Uint64
}

type tokenEntry struct {
	hash   tokenHash
	caller *Caller
	owner  string // key of the owner's record, "" where there is none
	until  time.Time
	weight uint32
	use    use
}

func newRememberedTokens() *rememberedTokens {
	return &rememberedTokens{cache: otter.Must(&otter.Options[tokenID, *tokenEntry]{
		MaximumWeight: maxRememberedBytes,
		Weigher:       func(_ tokenID, e *tokenEntry) uint32 { return e.weight },
	})}
}

// get returns the caller of a remembered token and notes the use.
func (r *rememberedTokens) get(hash tokenHash, from netip.Addr, now time.Time, uses *uses) *Caller {
	e, ok := r.cache.GetIfPresent(hash.id())
	if !ok || !now.Before(e.until) || subtle.ConstantTimeCompare(e.hash[:], hash[:]) != 1 {
		return nil
	}
	uses.note(&e.use, hash.id(), from, e.caller.Expires, now)
	return e.caller
}

// put remembers what was looked up since changes had the value seen. Word of a change that comes before the entry is set
// shows in the count, word that comes after finds the entry.
func (r *rememberedTokens) put(e *tokenEntry, seen uint64) {
	r.cache.Set(e.hash.id(), e)
	if r.changes.Load() != seen {
		r.cache.Invalidate(e.hash.id())
	}
}

// forgetToken is called with the key of a token's record that changed, "" for any of them.
func (r *rememberedTokens) forgetToken(key string) {
	r.changes.Add(1)
	if id, ok := parseID(key); ok {
		r.cache.Invalidate(id)
		return
	}
	r.cache.InvalidateAll()
}

// forgetOwner is called with the key of an owner's record that changed, "" for any of them.
func (r *rememberedTokens) forgetOwner(key string) {
	r.changes.Add(1)
	for id, e := range r.cache.All() {
		if key == "" || e.owner == key {
			r.cache.Invalidate(id)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
