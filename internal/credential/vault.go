package credential

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/secret"
	"corp.example/gateway/internal/state"
)

// The tables of the state store. Keys are credential names.
const (
	grantsTable = "credentials"       // sealed tokens of OAuth apps
	locksTable  = "credential-locks"  // who is changing them now
	healthTable = "credential-health" // what the running gateway last noticed, for "gateway credential list"
)

const (
	// lockLife is after how long a lock is taken for that of a crashed process. It is well over renewWithin: whoever holds
	// a lock has given up before it ends.
	lockLife = 2 * renewWithin
	// lockPause lies between two tries to take a lock; in between its holder's result is looked for.
	lockPause = 100 * time.Millisecond
)

// Vault keeps the tokens of OAuth apps in the state store, sealed, where every replica and the commands find them.
type Vault struct {
	store state.Store
	keys  *seal.Keys
}

// NewVault keeps tokens in store, sealed with keys.
func NewVault(store state.Store, keys *seal.Keys) *Vault { return &Vault{store, keys} }

// grant is what upstream gave an OAuth app, and how it stands with it.
type grant struct {
	access, refresh secret.Text
	obtained        time.Time
	expires         time.Time // of the access token; zero: not said
	generation      uint64    // counts up with each new pair
	client          string    // id of the app it was given to
	attempted       time.Time // since when a renewal is under way, or was when its process ended; zero: none
	lost            string    // why it cannot be renewed any more
}

// stored is a grant's form inside the seal. It alone has the tokens as text.
type stored struct {
	Access     string    `json:"access"`
	Refresh    string    `json:"refresh"`
	Obtained   time.Time `json:"obtained"`
	Expires    time.Time `json:"expires,omitzero"`
	Generation uint64    `json:"generation"`
	Client     string    `json:"client"`
	Attempted  time.Time `json:"attempted,omitzero"`
	Lost       string    `json:"lost,omitempty"`
}

// purpose binds a sealed grant to its credential: it cannot be put under another name.
func purpose(name string) string { return "credential:" + name }

// load reads a grant. Without one the error is state.ErrNotFound; seal.ErrUnreadable where no key opens it.
func (v *Vault) load(ctx context.Context, name string) (*grant, error) {
	sealed, err := v.store.Get(ctx, grantsTable, name)
	if err != nil {
		return nil, err
	}
	plain, err := v.keys.Open(purpose(name), sealed)
	if err != nil {
		return nil, err
	}
	var s stored
	if err := json.Unmarshal(plain, &s); err != nil {
		return nil, fmt.Errorf("reading the tokens of credential %s: %w", name, err)
	}
	return &grant{access: secret.New(s.Access), refresh: secret.New(s.Refresh), obtained: s.Obtained, expires: s.Expires,
		generation: s.Generation, client: s.Client, attempted: s.Attempted, lost: s.Lost}, nil
}

func (v *Vault) save(ctx context.Context, name string, g *grant) error {
	plain, err := json.Marshal(stored{Access: g.access.Reveal(), Refresh: g.refresh.Reveal(), Obtained: g.obtained, Expires: g.expires,
		Generation: g.generation, Client: g.client, Attempted: g.attempted, Lost: g.lost})
	if err != nil {
		return fmt.Errorf("storing the tokens of credential %s: %w", name, err)
	}
	return v.store.Put(ctx, grantsTable, name, v.keys.Seal(purpose(name), plain), time.Time{})
}

// errBusy says that somebody else holds the lock for as long as this side may wait.
var errBusy = errors.New("another process is renewing it")

// lock makes this process the only one that changes the grant. While it waits it asks given whether there is still a
// reason to; released does nothing where the lock may have ended by itself.
func (v *Vault) lock(ctx context.Context, name string, given func() bool) (release func(), err error) {
	for {
		taken := time.Now()
		err := v.store.Create(ctx, locksTable, name, []byte(rand.Text()), taken.Add(lockLife))
		switch {
		case err == nil:
			return func() { v.unlock(ctx, name, taken) }, nil
		case !errors.Is(err, state.ErrExists):
			return nil, err
		case given():
			return func() {}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errBusy, ctx.Err())
		case <-time.After(lockPause):
		}
	}
}

// unlock frees the lock, unless it is so old that it could be somebody else's by now: that one ends by itself.
func (v *Vault) unlock(ctx context.Context, name string, taken time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	if time.Since(taken)+storeWithin < lockLife {
		_ = v.store.Delete(ctx, locksTable, name) // if it stays, it ends by itself
	}
}
