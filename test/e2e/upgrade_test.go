package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

// TestARollingRestartFailsNoRequest replaces two replicas one after another, as an upgrade does, behind a load balancer
// that knows of them what their readiness tells, while clients keep asking over connections that they keep.
func TestARollingRestartFailsNoRequest(t *testing.T) {
	clients := filepath.Join(harness.Root(), "test", "clients")
	harness.Need(t, []string{"node"}, []string{filepath.Join(clients, "node_modules", "supabase-management-js", "package.json")})
	one := harness.Start(t, harness.Options{Redis: redis.Start(t).URL(), DrainDelay: "1s",
		Sandbox: func(c *sandbox.Config) { c.Limits.Off = true },
		Front: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				plenty(w)
				time.Sleep(20 * time.Millisecond) // so that some are always under way
				next.ServeHTTP(w, r)
			})
		}})
	two := one.Replica()
	trusting(t, one, two)
	front := startBalancer(t, one, two)
	u := &upgrade{t: t, url: "http://" + front.Addr().String(), token: one.Token("payments")}

	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 3 {
		load.Go(func() { u.ask(ctx, http.MethodGet, own+"/functions", "") })
		load.Go(func() { u.ask(ctx, http.MethodGet, own+"/secrets", "no-store") })
		load.Go(func() { u.ask(ctx, http.MethodPost, own+"/secrets", "") })
	}
	load.Go(func() { u.manage(ctx, clients) })
	for _, g := range []*harness.Gateway{one, two} {
		time.Sleep(500 * time.Millisecond)
		if err := g.Terminate(); err != nil {
			t.Errorf("a replica ended with %v", err)
		}
		g.Launch()
		front.await(g)
	}
	time.Sleep(500 * time.Millisecond)
	cancel()
	load.Wait()
	t.Logf("%d requests over HTTP, %d by supabase-management-js", u.asked.Load(), u.managed.Load())
	if u.asked.Load() < 100 || u.managed.Load() < 20 {
		t.Error("hardly any requests: the test tests nothing")
	}
}

// upgrade is what clients of a service do while its replicas are replaced.
type upgrade struct {
	t              *testing.T
	url, token     string
	asked, managed atomic.Int64
}

// ask repeats a request over a connection that is kept as long as the server keeps it.
func (u *upgrade) ask(ctx context.Context, method, path, cacheControl string) {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		var body io.Reader
		if method == http.MethodPost {
			// A reader of a kind that net/http does not know, so that it could not send it a second time unseen.
			body = io.MultiReader(strings.NewReader(`[{"name":"A","value":"b"}]`))
		}
		request, _ := http.NewRequest(method, u.url+path, body)
		request.Header.Set("Authorization", "Bearer "+u.token)
		request.Header.Set("Content-Type", "application/json")
		if cacheControl != "" {
			request.Header.Set("Cache-Control", cacheControl)
		}
		response, err := client.Do(request)
		if err != nil {
			u.t.Errorf("%s %s: %v", method, path, err)
			continue
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode/100 != 2 {
			u.t.Errorf("%s %s was answered %d %s, %v", method, path, response.StatusCode, text, err)
		}
		u.asked.Add(1)
	}
}

// manage has supabase-management-js read and write.
func (u *upgrade) manage(ctx context.Context, folder string) {
	var calls [][]any
	for range 60 {
		calls = append(calls, []any{"listAllSecrets", sandbox.Payments}, []any{"runAQuery", sandbox.Payments, map[string]any{"query": "select 1"}})
	}
	input, err := json.Marshal(map[string]any{"baseUrl": u.url, "accessToken": u.token, "calls": calls})
	if err != nil {
		u.t.Error(err)
		return
	}
	for ctx.Err() == nil {
		var stderr bytes.Buffer
		node := exec.Command("node", "management.mjs")
		node.Dir, node.Stdin, node.Stderr = folder, bytes.NewReader(input), &stderr
		output, err := node.Output()
		if err != nil {
			u.t.Errorf("management.mjs: %v\n%s", err, &stderr)
			return
		}
		for line := range strings.Lines(string(output)) {
			if !strings.HasPrefix(line, `{"status":20`) {
				u.t.Errorf("supabase-management-js was answered %s", line)
			}
			u.managed.Add(1)
		}
	}
}

// balancer hands connections on to gateways that are ready, by turns, and knows of nothing inside of them.
type balancer struct {
	net.Listener
	t        *testing.T
	backends []*backend
	next     atomic.Uint64
}

type backend struct {
	*harness.Gateway
	address string
	ready   atomic.Bool
}

// How a balancer asks: one failure can be the network's. The gateway's drain delay is over their product.
const (
	checkEvery     = 200 * time.Millisecond
	checksToRemove = 2
)

func startBalancer(t *testing.T, gateways ...*harness.Gateway) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{Listener: listener, t: t}
	t.Cleanup(func() { _ = listener.Close() })
	for _, g := range gateways {
		to := &backend{Gateway: g, address: strings.TrimPrefix(g.URL, "http://")}
		b.backends = append(b.backends, to)
		go to.watch(t.Context())
		b.await(g)
	}
	go b.accept()
	return b
}

// watch asks a gateway again and again whether it is ready.
func (b *backend) watch(ctx context.Context) {
	client := &http.Client{Timeout: 5 * time.Second}
	failures := 0
	for ticks := time.Tick(checkEvery); ctx.Err() == nil; <-ticks {
		response, err := client.Get(b.AdminURL + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				err = errors.New(response.Status)
			}
		}
		if err == nil {
			failures = 0
			b.ready.Store(true)
		} else if failures++; failures >= checksToRemove {
			b.ready.Store(false)
		}
	}
}

// await waits until a gateway is sent connections.
func (b *balancer) await(g *harness.Gateway) {
	b.t.Helper()
	for _, to := range b.backends {
		if to.Gateway == g {
			waitFor(b.t, "the balancer to see that "+g.URL+" is ready", to.ready.Load)
		}
	}
}

func (b *balancer) accept() {
	for {
		client, err := b.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			if err := b.connect(client); err != nil {
				b.t.Errorf("the balancer: %v", err)
			}
		}()
	}
}

func (b *balancer) connect(client net.Conn) error {
	for range b.backends {
		to := b.backends[b.next.Add(1)%uint64(len(b.backends))]
		if !to.ready.Load() {
			continue
		}
		server, err := net.Dial("tcp", to.address)
		if err != nil {
			return fmt.Errorf("a ready replica does not listen: %w", err)
		}
		defer server.Close()
		var ways sync.WaitGroup
		for from, into := range map[net.Conn]net.Conn{client: server, server: client} {
			ways.Go(func() {
				_, _ = io.Copy(into, from) // either side may end at any time
				_ = into.(*net.TCPConn).CloseWrite()
			})
		}
		ways.Wait()
		return nil
	}
	return errors.New("no replica is ready")
}
