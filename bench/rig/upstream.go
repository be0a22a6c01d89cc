package rig

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"corp.example/gateway/internal/sandbox/idp"
)

// Neighbours are what a gateway stands between: an upstream that answers from memory and names no rate limit, so that
// the queue never holds, and an identity provider.
type Neighbours struct {
	Upstream *httptest.Server
	Asked    atomic.Int64 // requests upstream has answered
	People   *idp.Provider
	issuer   *httptest.Server
	bodies   map[string][]byte
}

// The person of the identity provider.
const (
	person   = "ada"
	group    = "bench-eng"
	audience = "supabase-gateway"
)

// spent is for how long upstream says that a quota is spent: longer than anything that waits is measured, and less than
// this gateway lets a request wait.
const spent = maxWait - time.Minute

// NewNeighbours starts them with the bodies that upstream answers to paths. Answers may be kept for an hour unless their
// path is in passing. A path without a body is answered 429, as if somebody else had spent its quota: what asks for it
// waits in a queue.
func NewNeighbours(bodies map[string][]byte, passing ...string) (*Neighbours, error) {
	n := &Neighbours{bodies: bodies}
	fresh := map[string]string{}
	for path := range bodies {
		fresh[path] = "public, max-age=3600"
	}
	for _, path := range passing {
		fresh[path] = "no-store"
	}
	n.Upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Asked.Add(1)
		body, found := bodies[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		if body == nil {
			h.Set("Retry-After", strconv.Itoa(int(spent.Seconds())))
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("Cache-Control", fresh[r.URL.Path])
		_, _ = w.Write(body) // a proxy that left is its own fault
	}))
	n.issuer = httptest.NewUnstartedServer(nil)
	var err error
	n.People, err = idp.New(idp.Config{Issuer: "http://" + n.issuer.Listener.Addr().String(), TokenTTL: 12 * time.Hour,
		People: []idp.Person{{Subject: person, Email: "ada@corp.example", EmailVerified: true, Groups: []string{group}}}})
	if err != nil {
		n.Close()
		return nil, err
	}
	n.issuer.Config.Handler = n.People
	n.issuer.Start()
	return n, nil
}

// JWT is a bearer token of the identity provider's person.
func (n *Neighbours) JWT() string { return n.People.Token(person, audience) }

// Close ends them.
func (n *Neighbours) Close() {
	n.Upstream.Close()
	n.issuer.Close()
}

// Ref is the i-th project's reference.
func Ref(i int) string {
	ref := []byte("aaaaaaaaaaaaaaaaaaaa")
	for at := len(ref) - 1; i > 0; at, i = at-1, i/26 {
		ref[at] = byte('a' + i%26)
	}
	return string(ref)
}

// Functions is a list of a project's functions of about so many bytes, as upstream's JSON has it.
func Functions(size int) []byte {
	var b strings.Builder
	b.WriteString("[")
	for i := 0; b.Len() < size-200; i++ {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"id":"%08x-6b1f-4c1e-9a53-3a1a0f6b7c55","slug":"function-%d","name":"function %d","status":"ACTIVE","version":%d,"created_at":%d,"verify_jwt":true,"entrypoint_path":"index.ts"}`,
			i*2654435761, i, i, i%40+1, 1700000000000+i*86_400_000)
	}
	b.WriteString("]")
	b.WriteString(strings.Repeat(" ", max(0, size-b.Len())))
	return []byte(b.String())
}

// Projects is a list of projects, by their numbers.
func Projects(numbers ...int) []byte {
	var b strings.Builder
	b.WriteString("[")
	for n, i := range numbers {
		if n > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"id":%q,"ref":%q,"organization_id":"acme","organization_slug":"acme","name":"project %d","region":"eu-central-1","created_at":"2026-01-02T03:04:05.000006Z","status":"ACTIVE_HEALTHY","database":{"host":"db.%s.supabase.co","version":"15.8.1.054","postgres_engine":"15","release_channel":"ga"}}`,
			Ref(i), Ref(i), i, Ref(i))
	}
	b.WriteString("]")
	return []byte(b.String())
}

// Numbers are the numbers from 0 that are below n, in steps.
func Numbers(n, step int) []int {
	var numbers []int
	for i := 0; i < n; i += step {
		numbers = append(numbers, i)
	}
	return numbers
}
