package credential_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/secret"
	"corp.example/gateway/internal/state"
)

const (
	clientID     = "66666666-6666-4666-8666-666666666666"
	clientSecret = "app-secret"
	redirectURI  = "http://127.0.0.1:9780/callback"
	sealKey      = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

var errAway = errors.New("the store is away")

// memory is a store that several replicas of a test share. It works in a synctest bubble, where a file's does not.
type memory struct {
	mu       sync.Mutex
	values   map[string]value
	watchers []func(table, key string)
	fail     func(what, table string) bool // nil: nothing fails
}

type value struct {
	data    []byte
	expires time.Time
}

func newMemory() *memory { return &memory{values: map[string]value{}} }

func (m *memory) do(what, table, key string, act func(held value, live bool) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil && m.fail(what, table) {
		return errAway
	}
	held, found := m.values[table+"/"+key]
	return act(held, found && (held.expires.IsZero() || time.Now().Before(held.expires)))
}

func (m *memory) Get(ctx context.Context, table, key string) (data []byte, err error) {
	err = m.do("get", table, key, func(held value, live bool) error {
		if !live {
			return state.ErrNotFound
		}
		data = held.data
		return ctx.Err()
	})
	return data, err
}

func (m *memory) Put(ctx context.Context, table, key string, data []byte, expires time.Time) error {
	return m.changed(table, key, m.do("put", table, key, func(value, bool) error {
		m.values[table+"/"+key] = value{data, expires}
		return ctx.Err()
	}))
}

func (m *memory) Create(ctx context.Context, table, key string, data []byte, expires time.Time) error {
	return m.changed(table, key, m.do("create", table, key, func(_ value, live bool) error {
		if live {
			return state.ErrExists
		}
		m.values[table+"/"+key] = value{data, expires}
		return ctx.Err()
	}))
}

func (m *memory) Delete(ctx context.Context, table, key string) error {
	return m.changed(table, key, m.do("delete", table, key, func(value, bool) error {
		delete(m.values, table+"/"+key)
		return ctx.Err()
	}))
}

func (m *memory) Take(_ context.Context, table, key string) (data []byte, err error) {
	err = m.changed(table, key, m.do("take", table, key, func(held value, live bool) error {
		if !live {
			return state.ErrNotFound
		}
		data = held.data
		delete(m.values, table+"/"+key)
		return nil
	}))
	return data, err
}

func (m *memory) Scan(context.Context, string, func(string, []byte) error) error { panic("not used") }

func (m *memory) Hearing() bool { return true }

func (m *memory) Watch(table string, fn func(key string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers = append(m.watchers, func(written, key string) {
		if written == table {
			fn(key)
		}
	})
}

func (m *memory) changed(table, key string, err error) error {
	if err != nil {
		return err
	}
	m.mu.Lock()
	watchers := m.watchers
	m.mu.Unlock()
	for _, fn := range watchers {
		fn(table, key)
	}
	return nil
}

// failing makes the store fail as told, until the returned function is called.
func (m *memory) failing(fail func(what, table string) bool) (heal func()) {
	set := func(fail func(string, string) bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.fail = fail
	}
	set(fail)
	return func() { set(nil) }
}

// stage is upstream and a store, before which replicas stand.
type stage struct {
	*memory
	upstream *sandbox.Sandbox
	keys     *seal.Keys
	mu       sync.Mutex
	spoil    func(r *http.Request, answer func() *http.Response) (*http.Response, error) // nil: upstream answers
	tokens   int                                                                         // requests for tokens that upstream answered
}

func newStage(t *testing.T, life time.Duration) *stage {
	t.Helper()
	upstream, err := sandbox.New(sandbox.Config{Tokens: map[string]string{"sbp_other": "x"}, Limits: sandbox.LimitConfig{Off: true},
		OAuth: sandbox.OAuthConfig{Clients: map[string]string{clientID: clientSecret}, Life: life}})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := seal.Load(secret.Source{Env: "SEAL"}, func(string) string { return sealKey })
	if err != nil {
		t.Fatal(err)
	}
	return &stage{memory: newMemory(), upstream: upstream, keys: keys}
}

// RoundTrip is the way to upstream.
func (s *stage) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := func() *http.Response {
		w := httptest.NewRecorder()
		s.upstream.ServeHTTP(w, r)
		return w.Result()
	}
	s.mu.Lock()
	if strings.HasSuffix(r.URL.Path, "/token") {
		s.tokens++
	}
	spoil := s.spoil
	s.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if spoil != nil {
		return spoil(r, answer)
	}
	return answer(), nil
}

func (s *stage) spoiled(spoil func(r *http.Request, answer func() *http.Response) (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil = spoil
}

func (s *stage) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens
}

func (s *stage) app() *credential.App {
	return &credential.App{ClientID: clientID, Secret: secret.Source{Env: "APP"}, Upstream: "https://api.example", Client: &http.Client{Transport: s},
		Vault: credential.NewVault(s.memory, s.keys), Getenv: func(string) string { return clientSecret }}
}

// connect runs the authorization-code flow as a browser would.
func (s *stage) connect(t *testing.T) {
	t.Helper()
	flow := s.app().Authorize(redirectURI, "")
	if err := flow.Finish(t.Context(), "app", s.agree(t, flow.URL)); err != nil {
		t.Fatalf("connecting: %v", err)
	}
}

// agree opens a URL and returns the query with which upstream sends the browser back.
func (s *stage) agree(t *testing.T, address string) url.Values {
	t.Helper()
	w := httptest.NewRecorder()
	s.upstream.ServeHTTP(w, httptest.NewRequest("GET", address, nil))
	back, err := url.Parse(w.Header().Get("Location"))
	if err != nil || !strings.HasPrefix(back.String(), redirectURI) {
		t.Fatalf("upstream answered %d with Location %q", w.Code, w.Header().Get("Location"))
	}
	return back.Query()
}

// replica is one gateway's credentials.
func (s *stage) replica(t *testing.T) *credential.Set {
	t.Helper()
	set, err := credential.New([]credential.Config{{Name: "app", Owner: "app", App: s.app()}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// works reports whether upstream accepts a token.
func (s *stage) works(token string) bool {
	r := httptest.NewRequest("GET", "/v1/projects", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.upstream.ServeHTTP(w, r)
	return w.Code == http.StatusOK
}
