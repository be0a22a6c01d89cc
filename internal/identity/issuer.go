package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"
)

const (
	issuerTimeout = 10 * time.Second
	// maxIssuerBytes bounds what an issuer may answer. Discovery documents and key sets have some KiB.
	maxIssuerBytes = 1 << 20

	// ringAge is when a key set is read again even though it serves: a key that its issuer has withdrawn stops working
	// after this and rememberJWT together.
	ringAge = time.Hour
	// refetchAfter is the least time between two reads of a key set that answered. Tokens signed by a key just rotated in
	// wait this long at most, and tokens with made-up key ids cost the issuer no more than this.
	refetchAfter = 10 * time.Second
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

	flight singleflight.Group
	mu     sync.Mutex // guards what follows
	next   time.Time  // no read before
	fails  int        // reads that failed in a row
	broken error      // why the last one did; nil: it did not
}

// ring is what one read of an issuer gave.
type ring struct {
	provider   *oidc.Provider
	keys       []key
	endSession string // where people sign out, "" where it offers that not
	groupScope bool   // it wants to be asked for groups
	read       time.Time
}

func newIssuer(cfg Issuer, log *slog.Logger) (*issuer, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the CA file of issuer %s: %w", cfg.Name, err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s of issuer %s has no certificate in it", cfg.CAFile, cfg.Name)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &issuer{Issuer: cfg, log: log, client: &http.Client{
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
		return i.refresh(ctx)
	}
	if time.Since(r.read) > ringAge {
		// Nobody waits for this one: the old keys serve until the new ones are there.
		i.flight.DoChan("", i.read)
	}
	return r, nil
}

// refresh asks the issuer again unless it was asked just now, and returns the newest that is known. The error says that
// the issuer does not answer; what is known may still come with it.
func (i *issuer) refresh(ctx context.Context) (*ring, error) {
	select {
	case <-ctx.Done():
		return i.ring.Load(), ctx.Err()
	case done := <-i.flight.DoChan("", i.read):
		return i.ring.Load(), done.Err
	}
}

// read is the one place that talks to discovery and key set. It does not end with the request that caused it, since
// others wait for the same answer.
func (i *issuer) read() (any, error) {
	i.mu.Lock()
	early, broken := time.Now().Before(i.next), i.broken
	i.mu.Unlock()
	if early {
		return nil, broken
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
		i.log.Warn("the keys of an issuer cannot be read", "issuer", i.Name, "err", i.broken) // backoff keeps this rare
		return nil, i.broken
	}
	i.broken, i.fails, i.next = nil, 0, time.Now().Add(refetchAfter)
	i.ring.Store(r)
	return nil, nil
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
