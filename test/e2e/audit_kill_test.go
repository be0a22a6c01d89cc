package e2e

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

var (
	auditKills = flag.Int("audit.kills", 100, "how often TestAuditSurvivesKills kills the gateway")
	auditSeed  = flag.Uint64("audit.seed", 0, "seed of TestAuditSurvivesKills, as it printed it; 0: a new one")
)

const (
	killFlush = 20 * time.Millisecond // audit.flush of the gateway that is killed
	// A read's record is on disk killFlush after its answer, and one sync later: this, and what the disk took at that time.
	killSlack = 500 * time.Millisecond
)

// TestAuditSurvivesKills kills the gateway at random moments of a mixed load, starts it again each time, and reconciles
// what clients were told, what upstream received and what the log says.
func TestAuditSurvivesKills(t *testing.T) {
	seed := *auditSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to repeat: -audit.seed=%d", seed)
	g := harness.Start(t, harness.Options{
		Config: fmt.Sprintf("audit: {flush: %v, sinks: [{file: {dir: state/audit, max_size: 512KiB}, required: true}]}\n", killFlush),
		Sandbox: func(c *sandbox.Config) {
			c.Limits.Off = true
			c.Faults.Latency, c.Faults.Jitter = time.Millisecond, 4*time.Millisecond // calls under way at every moment
		},
	})
	k := &killing{g: g, token: g.Token("platform"), random: rand.New(rand.NewPCG(seed, 0)), upstream: map[string]bool{}}
	for range *auditKills {
		k.round(t)
	}
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	k.verify(t)
	k.reconcile(t)
}

// killing is what is known besides the log.
type killing struct {
	g        *harness.Gateway
	token    string
	random   *rand.Rand
	rounds   int
	torn     int             // half lines left in the log
	told     []told          // what clients were told
	upstream map[string]bool // writes that upstream received, by path
}

// told is one answer that a client read to its end.
type told struct {
	path, request string
	status        int
	write         bool
	left          time.Duration // how long the gateway lived on
	stalled       time.Duration // how long a sync to the same disk took at worst meanwhile
}

// round lets clients work, kills the gateway under them and starts it again.
func (k *killing) round(t *testing.T) {
	t.Helper()
	quiet := k.rounds%4 == 3 // reads alone: no write takes their records along to the disk
	moment := time.Duration(k.random.IntN(300)) * time.Millisecond
	if quiet {
		moment *= 3
	}
	var clients sync.WaitGroup
	var mu sync.Mutex
	var answered []told
	var at []time.Time
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for n := range 4 {
		random := rand.New(rand.NewPCG(k.random.Uint64(), 0))
		clients.Go(func() {
			for call := 0; ; call++ {
				got, err := k.call(transport, random, fmt.Sprintf("r%d-c%d-n%d", k.rounds, n, call), quiet)
				if err != nil {
					return // the gateway is dead
				}
				mu.Lock()
				answered, at = append(answered, got), append(at, time.Now())
				mu.Unlock()
			}
		})
	}
	stalled := k.slowestSync(t, moment) // until the moment of death
	died := time.Now()
	k.g.Kill()
	clients.Wait()
	for i := range answered {
		answered[i].left, answered[i].stalled = died.Sub(at[i]), stalled
	}
	k.told = append(k.told, answered...)
	if k.rounds++; k.rounds%10 == 0 {
		k.tear(t)
	}
	k.g.Launch()
	for _, r := range k.g.Upstream.Requests() {
		if r.Method == http.MethodDelete {
			k.upstream[r.Target] = true
		}
	}
	k.verify(t)
}

// slowestSync syncs a small file on the log's disk again and again for a while, and returns how long the slowest took:
// other work on the machine can stall a disk for longer than any flush interval.
func (k *killing) slowestSync(t *testing.T, during time.Duration) (slowest time.Duration) {
	t.Helper()
	probe, err := os.Create(k.g.Path("probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(min(10*time.Millisecond, time.Until(end))) {
		began := time.Now()
		if _, err := probe.WriteAt([]byte("probe"), 0); err != nil {
			t.Fatal(err)
		}
		if err := probe.Sync(); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(began))
	}
	return slowest
}

// call makes one call of a random kind. The name makes the path of a write and of a read that misses the cache unique.
func (k *killing) call(transport http.RoundTripper, random *rand.Rand, name string, quiet bool) (told, error) {
	own := "/v1/projects/" + []string{sandbox.Payments, sandbox.FieldApp}[random.IntN(2)]
	method, path, token := http.MethodGet, "/v1/projects/"+sandbox.Ledger+"/functions", k.token // a hit, but for the first
	switch kind := random.IntN(10); {
	case kind == 0:
		path = own + "/functions/" + name // a miss
	case kind == 1:
		path, token = own, "" // refused: a stranger
	case kind == 2:
		path = "/v1/" + name // refused: not in the catalogue
	case kind < 6 && !quiet:
		method, path = http.MethodDelete, own+"/functions/"+name
	}
	request, err := http.NewRequest(method, k.g.URL+path, nil)
	if err != nil {
		return told{}, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return told{}, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return told{path: path, request: response.Header.Get("X-Request-Id"), status: response.StatusCode, write: method == http.MethodDelete}, err
}

// tear leaves half a line at the end of the log, as a power failure may.
func (k *killing) tear(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(k.g.Path("state/audit/audit-0*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("audit files %q, %v", files, err)
	}
	f, err := os.OpenFile(slices.Max(files), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(`{"v":1,"time":"2026-01-02T15:04:05.0`); err != nil {
		t.Fatal(err)
	}
	k.torn++
}

// verify wants the chain whole.
func (k *killing) verify(t *testing.T) {
	t.Helper()
	reports, err := audit.Verify(t.Context(), k.g.Path("state/audit"), audit.VerifyOptions{Chain: "audit"})
	if err != nil || len(reports) != 1 {
		t.Fatalf("after %d kills: %d chains, %v", k.rounds, len(reports), err)
	}
	if reports[0].Fault != nil {
		t.Fatalf("after %d kills: %v", k.rounds, reports[0].Fault)
	}
}

// reconcile compares the three lists.
func (k *killing) reconcile(t *testing.T) {
	t.Helper()
	intents, outcomes := map[string]int{}, map[string]audit.Record{} // writes by path
	answers := map[string]audit.Record{}                             // outcomes by request
	unknown, torn := 0, 0
	for r, err := range audit.Search(t.Context(), k.g.Path("state/audit"), audit.Filter{Chain: "audit"}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case r.Phase == audit.Intent:
			intents[r.Path]++
		case r.Method == http.MethodDelete:
			if _, twice := outcomes[r.Path]; twice {
				t.Errorf("%s has two outcomes", r.Path)
			}
			outcomes[r.Path] = r
			if r.Outcome == audit.Unknown {
				unknown++
			}
			fallthrough
		default:
			answers[r.RequestID] = r
		}
	}
	for path := range k.upstream {
		if intents[path] != 1 {
			t.Errorf("upstream received %s, the log has %d intents", path, intents[path])
		}
	}
	for path := range intents {
		if _, closed := outcomes[path]; !closed {
			t.Errorf("the intent of %s was never closed", path)
		}
	}
	for _, told := range k.told {
		r, found := answers[told.request]
		late := told.left < killFlush+killSlack+2*told.stalled // its record may have died with the gateway
		switch {
		case told.write && !k.upstream[told.path]:
			t.Errorf("%s was answered %d and upstream never saw it", told.path, told.status)
		case told.write && !found:
			t.Errorf("%s was answered %d, the log has no outcome", told.path, told.status)
		case !found && !late:
			t.Errorf("%s was answered %d, the gateway lived on for %v, the log has nothing", told.path, told.status, told.left)
		case found && r.Status != told.status && !(late && r.Outcome == audit.Unknown):
			t.Errorf("%s was answered %d, the log says %d %s", told.path, told.status, r.Status, r.Outcome)
		}
	}
	for r, err := range audit.Search(t.Context(), k.g.Path("state/audit"), audit.Filter{Chain: "audit", Phase: audit.Note}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Event == "torn_line" && strings.Contains(r.Detail, ".torn") {
			torn++
		}
	}
	if torn < k.torn {
		t.Errorf("%d half lines were left in the log, it speaks of %d", k.torn, torn)
	}
	if unknown == 0 && k.rounds > 20 {
		t.Error("no kill met a write under way: the load proves nothing")
	}
	t.Logf("%d kills: %d answers, %d writes at upstream, %d intents, %d of them closed as unknown, %d torn lines", k.rounds, len(k.told), len(k.upstream), len(intents), unknown, torn)
}
