package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

const secondToken = "sbp_5ec4e700000000000000000000000000000000bb"

// TestARotationUnderLoadLosesNoRequest: two replicas under load, while the file of the shared token is replaced and the
// old token ended, the OAuth app's tokens end every few seconds, and upstream ends them early once.
func TestARotationUnderLoadLosesNoRequest(t *testing.T) {
	t.Parallel()
	options := withApp(10 * time.Second)
	options.Redis = redis.Start(t).URL()
	sandboxed := options.Sandbox
	options.Sandbox = func(c *sandbox.Config) {
		sandboxed(c)
		c.Tokens[secondToken] = "platform-bot"
	}
	one := harness.Start(t, options)
	two := one.Replica()
	token := one.JWT("ada") // which no store has to be asked about
	connect(t, one)

	began, load := time.Now(), startLoad(t, token, one, two)
	steps := []func(){
		func() { one.Write("pat", secondToken); two.Write("pat", secondToken) }, // old and new overlap
		func() { one.Upstream.Revoke(harness.UpstreamToken) },
		func() { one.Upstream.RevokeAccess() },
		func() {},
	}
	for _, step := range steps {
		step()
		load.goOn(t, 4*time.Second, 8) // a token file is read every other second
	}
	made := load.stop()
	if t.Failed() {
		t.Logf("the other replica's log:\n%s", two.Log())
	}
	for _, g := range []*harness.Gateway{one, two} {
		for _, name := range []string{"app", "shared"} {
			if one := listed(t, g, name); one.Health != "healthy" {
				t.Errorf("afterwards: %+v", one)
			}
		}
		checkNowhere(t, g, "sbp_oauth_", appSecret, harness.UpstreamToken, secondToken)
	}
	asked := 0
	for _, r := range one.Upstream.Requests() {
		if strings.HasSuffix(r.Target, "/v1/oauth/token") {
			asked++
		}
	}
	// One for the connection, one for the early end, and one every 8 s; not one for each replica.
	if most := 4 + int(time.Since(began)/(8*time.Second)); asked < 3 || asked > most {
		t.Errorf("upstream was asked for tokens %d times: a renewal is made once for both replicas", asked)
	}
	t.Logf("calls %v, requests for tokens %d", made, asked)
}

// load is clients that call and count until they are stopped.
type load struct {
	ended   chan struct{}
	clients sync.WaitGroup
	app     atomic.Int64
	shared  atomic.Int64
}

// startLoad has clients read and write through each gateway, in a project that the app serves and in one that the shared
// token serves. Every answer that is no success fails the test.
func startLoad(t *testing.T, token string, gateways ...*harness.Gateway) *load {
	t.Helper()
	l := &load{ended: make(chan struct{})}
	for _, g := range gateways {
		for ref, count := range map[string]*atomic.Int64{sandbox.Payments: &l.app, sandbox.Ledger: &l.shared} {
			l.clients.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-l.ended:
						return
					case <-time.After(40 * time.Millisecond): // a client's own pace
					}
					method, path, body := http.MethodGet, "/v1/projects/"+ref+"/functions", ""
					if n%4 == 3 {
						method, path, body = http.MethodPost, "/v1/projects/"+ref+"/secrets", fmt.Sprintf(`[{"name":"N%d","value":"v"}]`, n%10)
					}
					a := g.Do(token, method, path, body, "Cache-Control", "no-cache")
					if a.StatusCode >= 300 {
						t.Errorf("%s %s: %d %s", method, path, a.StatusCode, a.Text)
					}
					count.Add(1)
				}
			})
		}
	}
	return l
}

// goOn lets the load go on for a time, and until each credential has served some more calls.
func (l *load) goOn(t *testing.T, atLeast time.Duration, calls int64) {
	t.Helper()
	app, shared := l.app.Load(), l.shared.Load()
	time.Sleep(atLeast) // the load is what is tested
	for deadline := time.Now().Add(time.Minute); l.app.Load() < app+calls || l.shared.Load() < shared+calls; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d and %d calls were served in a minute", l.app.Load()-app, l.shared.Load()-shared)
		}
	}
}

// stop ends the load and tells how many calls each credential served.
func (l *load) stop() map[string]int64 {
	close(l.ended)
	l.clients.Wait()
	return map[string]int64{"app": l.app.Load(), "shared": l.shared.Load()}
}
