package identity_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/sandbox/idp"
	"corp.example/gateway/internal/state"
)

const (
	publicURL = "https://gateway.example"
	corpURL   = "https://login.example"
	audience  = "supabase-gateway"
	clientID  = "gateway-portal"
)

var (
	home = netip.MustParseAddr("192.0.2.1") // where requests come from unless a test says otherwise

	ada = idp.Person{Subject: "ada-1", Email: "ada@corp.example", EmailVerified: true, Name: "Ada", Groups: []string{"payments-eng", "staff"}}
	bob = idp.Person{Subject: "bob-2", Email: "bob@corp.example", EmailVerified: true, Name: "Bob", Groups: []string{"staff"}}
)

// stage is a gateway's identity with one company issuer, over an embedded store, without a network: its issuer is asked
// in process, so that it also works where time is stepped over.
type stage struct {
	*identity.Service
	corp  *idp.Provider
	store *troubled
	calls atomic.Uint32
}

func newCorp() (*idp.Provider, error) {
	return idp.New(idp.Config{
		Issuer:  corpURL,
		Clients: []idp.Client{{ID: clientID, Secret: "client-secret", RedirectURIs: []string{publicURL + identity.CallbackPath, publicURL + "/-/"}}},
		People:  []idp.Person{ada, bob},
	})
}

// sharedCorp saves the time it takes to make keys. Tests that change the issuer or count its requests take their own.
var sharedCorp = sync.OnceValues(newCorp)

// newStage takes changes to the configuration before the service is made. Its issuer must be left as it is.
func newStage(t testing.TB, changes ...func(*identity.Config)) *stage {
	t.Helper()
	corp, err := sharedCorp()
	if err != nil {
		t.Fatal(err)
	}
	return stageWith(t, corp, changes...)
}

// newStageAlone is newStage with an issuer of its own.
func newStageAlone(t testing.TB, changes ...func(*identity.Config)) *stage {
	t.Helper()
	corp, err := newCorp()
	if err != nil {
		t.Fatal(err)
	}
	return stageWith(t, corp, changes...)
}

func stageWith(t testing.TB, corp *idp.Provider, changes ...func(*identity.Config)) *stage {
	t.Helper()
	s := &stage{corp: corp, store: &troubled{
		Store: openState(t, t.TempDir()), puts: map[string]int{}, watchers: map[string]func(string){},
	}}
	config := identity.Config{
		PublicURL: publicURL,
		Issuers: []identity.Issuer{{
			Name: "corp", URL: corpURL, Audience: []string{"other", audience},
			Client: &identity.Client{ID: clientID, Secret: "client-secret"},
		}},
	}
	for _, change := range changes {
		change(&config)
	}
	s.Service = newService(t, config, s.store)
	s.UseTransport("corp", inProcess{corp})
	return s
}

func newService(t testing.TB, config identity.Config, store state.Store) *identity.Service {
	t.Helper()
	service, err := identity.New(config, store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	return service
}

// openState gives a store without a control socket: sockets do not work where time is stepped over.
func openState(t testing.TB, dir string) state.Store {
	t.Helper()
	store, err := state.Connect(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// inProcess answers requests by calling the handler.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	p.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// instead answers one path by itself and leaves the rest to next.
func instead(next http.Handler, path string, answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			answer(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// troubled is a store that can be out of order, can do something in the middle of a read, and counts writes.
type troubled struct {
	state.Store
	broken  error       // reads and writes nothing
	failing atomic.Bool // writes nothing
	reading func(table string)

	mu       sync.Mutex
	puts     map[string]int
	watchers map[string]func(key string)
}

var errRefused = errors.New("connection refused")

func (s *troubled) Get(ctx context.Context, table, key string) ([]byte, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	value, err := s.Store.Get(ctx, table, key)
	if s.reading != nil {
		s.reading(table)
	}
	return value, err
}

func (s *troubled) Put(ctx context.Context, table, key string, value []byte, expires time.Time) error {
	if s.failing.Load() {
		return errRefused
	}
	s.mu.Lock()
	s.puts[table]++
	s.mu.Unlock()
	return s.Store.Put(ctx, table, key, value, expires)
}

func (s *troubled) Create(ctx context.Context, table, key string, value []byte, expires time.Time) error {
	if s.failing.Load() {
		return errRefused
	}
	return s.Store.Create(ctx, table, key, value, expires)
}

func (s *troubled) Watch(table string, fn func(key string)) {
	s.watchers[table] = fn
	s.Store.Watch(table, fn)
}

// writes counts the values put into a table.
func (s *troubled) writes(table string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts[table]
}

// missed tells the watcher that changes to a table may have been missed.
func (s *troubled) missed(table string) { s.watchers[table]("") }

// bearer presents a credential from home.
func (s *stage) bearer(t testing.TB, token string) (*identity.Caller, error) {
	t.Helper()
	return s.Authenticate(t.Context(), []string{"Bearer " + token}, home)
}

// good wants the credential to be accepted.
func (s *stage) good(t testing.TB, token string) *identity.Caller {
	t.Helper()
	caller, err := s.bearer(t, token)
	if err != nil {
		t.Fatalf("a good credential was refused: %v", err)
	}
	return caller
}

// refused wants the credential to be refused with 401 for the reason. Every call comes from another address, so that
// none is slowed.
func (s *stage) refused(t testing.TB, token string, reason identity.Reason) {
	t.Helper()
	n := s.calls.Add(1)
	remote := netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)})
	caller, err := s.Authenticate(t.Context(), []string{"Bearer " + token}, remote)
	if err == nil {
		t.Fatalf("accepted as %s %s, want a refusal: %s", caller.Issuer, caller.Subject, reason)
	}
	wantRefusal(t, err, http.StatusUnauthorized, reason, token)
}

// wantRefusal wants a problem of the status that carries the reason and none of the secrets.
func wantRefusal(t testing.TB, err error, status int, reason identity.Reason, secrets ...string) {
	t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) || p.Status != status {
		t.Fatalf("error %v, want a problem with status %d", err, status)
	}
	var refusal *identity.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != reason {
		t.Errorf("error %v, want the reason %s", err, reason)
	}
	if status == http.StatusUnauthorized && !strings.HasPrefix(p.Header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("WWW-Authenticate is %q, want Bearer", p.Header.Get("WWW-Authenticate"))
	}
	for _, secret := range secrets {
		if secret != "" && (strings.Contains(err.Error(), secret) || strings.Contains(p.Message, secret)) {
			t.Errorf("the error shows the credential: %v", err)
		}
		for part := range strings.SplitSeq(secret, ".") {
			if len(part) > 8 && strings.Contains(err.Error(), part) {
				t.Errorf("the error shows a part of the credential: %v", err)
			}
		}
	}
}

// mint makes a token for a person who just presented a bearer token.
func (s *stage) mint(t testing.TB, owner *identity.Caller, changes ...func(*identity.MintRequest)) (string, identity.TokenInfo) {
	t.Helper()
	request := identity.MintRequest{Owner: owner, Name: "laptop"}
	for _, change := range changes {
		change(&request)
	}
	secret, info, err := s.Mint(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return secret, info
}

// in is for expiries.
func in(d time.Duration) time.Time { return time.Now().Add(d) }
