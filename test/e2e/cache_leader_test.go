package e2e

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// TestAFetchOutlivesTheClientThatBeganIt: who asked first leaves while upstream answers. Another team that asks meanwhile
// gets its own part of the same answer, and upstream is asked once.
func TestAFetchOutlivesTheClientThatBeganIt(t *testing.T) {
	t.Parallel()
	reading, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	g := harness.Start(t, harness.Options{Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/projects" {
				first.Do(func() { close(reading) })
				<-release
			}
			next.ServeHTTP(w, r)
		})
	}})
	ada, bob := g.JWT("ada"), g.JWT("bob")
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/v1/projects", nil)
		request.Header.Set("Authorization", "Bearer "+ada)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
		}
		left <- err
	}()
	<-reading
	leave()
	if err := <-left; err == nil {
		t.Fatal("the first client was answered")
	}
	answered := make(chan harness.Answer)
	go func() { answered <- g.Get(bob, "/v1/projects") }()
	time.Sleep(200 * time.Millisecond) // it waits for the fetch by now; if not, it finds what that brought
	close(release)
	a := <-answered
	if got, want := refs(t, a), []string{sandbox.FieldApp}; !slices.Equal(got, want) {
		t.Errorf("the second client sees %v, want %v", got, want)
	}
	if n := len(upstreamRequests(g, "/v1/projects")); n != 1 {
		t.Errorf("upstream was asked %d times", n)
	}
}
