package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"

	"corp.example/gateway/internal/trust"
)

const (
	issuerTimeout = 10 * time.Second
	// maxIssuerBytes bounds what an issuer may answer. Discovery documents and key sets have some KiB.
	maxIssuerBytes = 1 << 20

	// ringAge is when a key set is read again even though it serves: a key that its issuer has withdrawn stops working
	// after this and rememberJWT together.
	ringAge = time.Hour
	// refetchAfter is what each read of a key set that answered is paid with, after the first few: tokens with made-up key
	// ids cost the issuer no more than one question in this time.
	refetchAfter = 10 * time.Second
	// bearerReads and signInReads are how many reads may follow each other at once: the first one, and another for a key
	// that is rotated in right after it. Sign-ins have their own, since no stranger can make one fail by emptying it.
	bearerReads = 2
	signInReads = 3
	// Failed reads are repeated after backoffMin, doubling to backoffMax.
	backoffMin = time.Second
	backoffMax = time.Minute
)

// issuer is one configured issuer and what has been learned from it. What was learned is kept until something newer has
// been: an issuer that is down stops nobody whose key is known.
type issuer struct {
	Issuer
	client *http.Client
	log    *slog.Logger
	ring   atomic.Pointer[ring] // nil until the issuer has answered once

	overages chan struct{} // a place for each question to userinfo

	flight  singleflight.Group
	mu      sync.Mutex // guards what follows
	bearers reads      // for tokens that anybody may send
	signIns reads      // for ID tokens that the issuer itself has just given
	next    time.Time  // no read before, since the last one failed
	fails   int        // reads that failed in a row
	broken  error      // why the last one did; nil: it did not
}

// reads is a bucket of reads of a key set: one comes back each refetchAfter.
type reads struct {
	name string
	most float64
	left float64
	at   time.Time
}

func newReads(name string, most float64) reads { return reads{name: name, most: most, left: most} }

// allows reports whether there is a read left. It is spent only when the issuer has answered: of failures the backoff
// takes care.
func (r *reads) allows(now time.Time) bool {
	r.left = min(r.most, r.left+float64(now.Sub(r.at))/float64(refetchAfter))
	r.at = now
	return r.left >= 1
}

// ring is what one read of an issuer gave.
type ring struct {
	provider   *oidc.Provider
	keys       []key
	endSession string // where people sign out, "" where it offers that not
	groupScope bool   // it wants to be asked for groups
	read       time.Time

	offlineScope bool // it gives refresh tokens to whoever asks for offline_access
}

func newIssuer(cfg Issuer, log *slog.Logger) (*issuer, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	var err error
	if transport.TLSClientConfig, err = trust.Client(cfg.CAFile); err != nil {
		return nil, fmt.Errorf("identity issuer %s: %w", cfg.Name, err)
	}
	return &issuer{Issuer: cfg, log: log, overages: make(chan struct{}, maxOverages),
		bearers: newReads("bearers", bearerReads), signIns: newReads("sign-ins", signInReads), client: &http.Client{
			Transport: bounded{transport},
			Timeout:   issuerTimeout,
			// Followed redirects could leave https, and would take the client secret along.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}, nil
}

// bounded is a transport whose answers end with an error past maxIssuerBytes.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxIssuerBytes)
	return resp, nil
}

// known returns what the issuer has said, asking it where nothing is known yet.
func (i *issuer) known(ctx context.Context) (*ring, error) {
	r := i.ring.Load()
	if r == nil {
		return i.refresh(ctx, nil, &i.signIns) // nothing to flood yet: until it answers the backoff decides
	}
	if time.Since(r.read) > ringAge {
		// Nobody waits for this one: the old keys serve until the new ones are there.
		i.newer(r, &i.bearers)
	}
	return r, nil
}

// refresh asks the issuer again where reads allows it and nothing newer than seen is known yet, and returns the newest
// that is known. The error says that the issuer does not answer; what is known may still come with it.
func (i *issuer) refresh(ctx context.Context, seen *ring, reads *reads) (*ring, error) {
	select {
	case <-ctx.Done():
		return i.ring.Load(), ctx.Err()
	case done := <-i.newer(seen, reads):
		return i.ring.Load(), done.Err
	}
}

// newer is one read for all who have seen the same ring, however late they come: who looked before it ended and asks
// after finds that it has ended.
func (i *issuer) newer(seen *ring, reads *reads) <-chan singleflight.Result {
	return i.flight.DoChan(fmt.Sprintf("%s %p", reads.name, seen), func() (any, error) {
		if i.ring.Load() != seen {
			return nil, nil
		}
		return nil, i.read(reads)
	})
}

// read is the one place that talks to discovery and key set. It does not end with the request that caused it, since
// others wait for the same answer.
func (i *issuer) read(reads *reads) error {
	i.mu.Lock()
	now := time.Now()
	early, broken := now.Before(i.next) || !reads.allows(now), i.broken
	i.mu.Unlock()
	if early {
		return broken
	}
	ctx, cancel := context.WithTimeout(context.Background(), issuerTimeout)
	defer cancel()
	r, err := i.fetch(ctx)

	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.broken = fmt.Errorf("issuer %s does not answer: %s", i.Name, brief(err))
		i.next = time.Now().Add(min(backoffMax, backoffMin<<min(i.fails, 10)))
		i.fails++
		i.log.Warn("the keys of an issuer cannot be read", "issuer", i.Name, "error", i.broken) // backoff keeps this rare
		return i.broken
	}
	i.broken, i.fails, i.next = nil, 0, time.Time{}
	reads.left--
	i.ring.Store(r)
	return nil
}

func (i *issuer) fetch(ctx context.Context) (*ring, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, i.client), i.URL)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	var more struct {
		JWKS       string   `json:"jwks_uri"`
		EndSession string   `json:"end_session_endpoint"`
		Scopes     []string `json:"scopes_supported"`
	}
	if err := provider.Claims(&more); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	for name, endpoint := range map[string]string{
		"jwks_uri":               more.JWKS,
		"authorization_endpoint": provider.Endpoint().AuthURL,
		"token_endpoint":         provider.Endpoint().TokenURL,
	} {
		// A workload platform has keys and nothing else.
		if err := checkEndpoint(endpoint); err != nil && (i.Client != nil || name == "jwks_uri") {
			return nil, fmt.Errorf("discovery: %s %w", name, err)
		}
	}
	body, err := i.get(ctx, more.JWKS)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	keys, err := parseKeys(body)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	r := &ring{provider: provider, keys: keys, read: time.Now()}
	if checkEndpoint(more.EndSession) == nil {
		r.endSession = more.EndSession
	}
	for _, scope := range more.Scopes {
		r.groupScope = r.groupScope || scope == "groups"
		r.offlineScope = r.offlineScope || scope == oidc.ScopeOfflineAccess
	}
	return r, nil
}

func (i *issuer) get(ctx context.Context, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// brief makes one short line of an error that may hold a whole answer, such as a proxy's error page.
func brief(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

// claimSet is a token's payload. Numbers keep their digits: ids must not become floating point.
type claimSet map[string]any

func decodeClaims(payload []byte) (claimSet, error) {
	d := json.NewDecoder(strings.NewReader(string(payload)))
	d.UseNumber()
	var c claimSet
	if err := d.Decode(&c); err != nil || c == nil {
		return nil, errors.New("the payload is not a JSON object")
	}
	return c, nil
}
