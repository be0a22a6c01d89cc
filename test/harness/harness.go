// Package harness runs the built gateway as its users do: the real binary with a configuration in a folder, between the
// stand-in upstream and an identity provider that the test can steer and read.
//
// Every Gateway has its own neighbours, ports and folder, so tests run beside each other.
package harness

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/internal/sandbox/idp"
)

// UpstreamToken is the stand-in's own token, the secret that must never come out of the gateway.
const UpstreamToken = "sbp_5ec4e700000000000000000000000000000000aa"

// Audience is what bearer tokens for the gateway are issued to, and the gateway's own name at the identity provider.
const Audience = "supabase-gateway"

// ClientSecret is the gateway's secret at the identity provider.
const ClientSecret = "client-secret"

// The people of the identity provider, by subject, and the groups that Policy speaks of.
var people = []idp.Person{
	{Subject: "ada", Name: "Ada Lovelace", Email: "ada@acme.example", EmailVerified: true, Groups: []string{"payments-eng"}},
	{Subject: "bob", Name: "Bob Kahn", Email: "bob@globex.example", EmailVerified: true, Groups: []string{"field-eng"}},
	{Subject: "grace", Name: "Grace Hopper", Email: "grace@acme.example", EmailVerified: true, Groups: []string{"platform-eng"}},
	{Subject: "linus", Name: "Linus Pauling", Email: "linus@acme.example", EmailVerified: true, Groups: []string{"research"}},
}

// Policy is the policy that a Gateway runs with where Options names none: two teams that must not see each other, and
// one that may do everything.
const Policy = `
teams:
  - name: payments
    contact: "#payments"
    members: [{group: payments-eng}]
    allow:
      - {projects: [` + sandbox.Payments + `, ` + sandbox.Ledger + `], branches: true, scopes: ["*"], permissions: ["*"]}
      - {organizations: [` + sandbox.Acme + `], operations: [v1-get-an-organization, v1-create-a-project]}
      - {account: true, operations: [v1-get-available-regions]}
  - name: field
    members: [{group: field-eng}]
    allow:
      - {projects: [` + sandbox.FieldApp + `], branches: true, scopes: ["*"], permissions: ["*"]}
      - {organizations: [` + sandbox.Globex + `], operations: [v1-get-an-organization]}
  - name: platform
    admin: true
    members: [{group: platform-eng}]
    allow:
      - {projects: ["*"], organizations: ["*"], branches: true, account: true, scopes: ["*"], permissions: ["*"]}
`

// Options change what a Gateway is made of. The zero value is a gateway as its defaults make it.
type Options struct {
	Policy     string                          // policy.yaml; "": Policy
	Config     string                          // further YAML for gateway.yaml, at its top level
	Server     string                          // further keys of its server block, as "max_body: 256MiB, "
	Listen     string                          // address of the public listener, for a test that must know it before; "": a free one
	DrainDelay string                          // server.drain_delay; "": none
	Scheme     string                          // of its URL: "https" where Server has a tls block; "": http
	Identity   string                          // further keys of its identity block, as "refresh_membership: 1s"
	Client     string                          // further keys of its client at the identity provider, as ", prompt: consent"
	State      string                          // further keys of its state block, as "seal_key: {file: seal-key}, "
	Telemetry  string                          // further keys of its telemetry block, as "otlp: {endpoint: …}, "
	Redis      string                          // URL of the Redis that replicas share; "": none
	Credential string                          // one more upstream credential, as "{name: …, token: {file: …}}"
	Files      map[string]string               // further files in the gateway's folder, by name
	Sandbox    func(*sandbox.Config)           // changes the stand-in's configuration
	Front      func(http.Handler) http.Handler // stands between the gateway and the stand-in
	Origin     string                          // URL of another upstream than the stand-in
	Forward    string                          // request headers let through beside the built-in ones, with commas between

	// Issuer starts another identity provider than People for the gateway at a URL, and returns its issuer. The gateway
	// is its client Audience with ClientSecret.
	Issuer func(gateway string) string
}

// Gateway is a running gateway and its neighbours.
type Gateway struct {
	URL      string // of the public listener
	AdminURL string
	Dir      string // of gateway.yaml, policy.yaml and the state
	Upstream *sandbox.Sandbox
	People   *idp.Provider // nil where Options.Issuer is another

	t        testing.TB
	options  Options
	upstream string // URL
	issuer   string // URL
	public   string // URL of the service: the first replica's
	binary   string
	process  *exec.Cmd
	ended    chan error
	log      *safeBuffer
}

// Start runs a gateway and waits until it is ready. It ends with the test, which fails where the gateway did.
func Start(t testing.TB, options Options) *Gateway {
	t.Helper()
	g := &Gateway{t: t, Dir: t.TempDir(), binary: Binary(t), log: &safeBuffer{}}
	config := sandbox.Config{Tokens: map[string]string{UpstreamToken: "platform-bot"}, Settle: time.Millisecond}
	if options.Sandbox != nil {
		options.Sandbox(&config)
	}
	var err error
	if g.Upstream, err = sandbox.New(config); err != nil {
		t.Fatal(err)
	}
	var front http.Handler = g.Upstream
	if options.Front != nil {
		front = options.Front(front)
	}
	upstream := httptest.NewServer(front)
	t.Cleanup(upstream.Close)
	if options.Issuer == nil {
		options.Issuer = g.startPeople
	}
	if options.Policy == "" {
		options.Policy = Policy
	}
	if options.Origin == "" {
		options.Origin = upstream.URL
	}
	g.options, g.upstream = options, options.Origin
	g.configure()
	g.Launch()
	t.Cleanup(g.stop)
	return g
}

// Replica runs another gateway of the same service: it has the neighbours, the policy, the credential and the Redis of g,
// and a folder and ports of its own.
func (g *Gateway) Replica() *Gateway {
	g.t.Helper()
	replica := &Gateway{Dir: g.t.TempDir(), Upstream: g.Upstream, People: g.People, t: g.t, options: g.options, upstream: g.upstream, issuer: g.issuer,
		public: g.public, binary: g.binary, log: &safeBuffer{}}
	replica.configure()
	replica.Launch()
	g.t.Cleanup(replica.stop)
	return replica
}

// configure writes the gateway's files.
func (g *Gateway) configure() {
	g.t.Helper()
	listen, admin := cmp.Or(g.options.Listen, FreeAddress(g.t)), FreeAddress(g.t)
	g.URL, g.AdminURL = cmp.Or(g.options.Scheme, "http")+"://"+listen, "http://"+admin
	if g.public == "" {
		g.public = g.URL
		g.issuer = g.options.Issuer(g.URL)
	}
	redis := ""
	if g.options.Redis != "" {
		redis = fmt.Sprintf("redis: {url: %q}, ", g.options.Redis)
	}
	for name, content := range g.options.Files {
		g.write(name, content)
	}
	g.write("policy.yaml", g.options.Policy)
	g.write("pat", UpstreamToken)
	g.write("client-secret", ClientSecret)
	g.write("gateway.yaml", fmt.Sprintf(`server: {%slisten: %q, public_url: %q, drain_delay: %s, drain_timeout: 5s}
admin: {listen: %q}
state: {%s%sdir: state}
upstream: {url: %q, timeout: 20s, forward_headers: [%s]}
credentials: [{name: shared, owner: platform-bot, token: {file: pat}}, %s]
identity:
  issuers: [{name: corp, url: %q, audience: [%s], client: {id: %s, secret: {file: client-secret}%s}}]
  %s
telemetry: {%slog: {level: debug, format: json}}
%s`, g.options.Server, listen, g.public, cmp.Or(g.options.DrainDelay, "0s"), admin, redis, g.options.State, g.upstream, g.options.Forward, g.options.Credential, g.issuer, Audience, Audience, g.options.Client, g.options.Identity, g.options.Telemetry, g.options.Config))
}

// startPeople starts the identity provider of the people above.
func (g *Gateway) startPeople(gateway string) string {
	g.t.Helper()
	issuer := httptest.NewUnstartedServer(nil)
	url := "http://" + issuer.Listener.Addr().String()
	var err error
	if g.People, err = idp.New(idp.Config{Issuer: url, People: people, Clients: []idp.Client{{
		ID: Audience, Secret: ClientSecret, RedirectURIs: []string{gateway + "/-/callback", gateway + "/-/"},
	}}}); err != nil {
		g.t.Fatal(err)
	}
	issuer.Config.Handler = g.People
	issuer.Start()
	g.t.Cleanup(issuer.Close)
	return url
}

// Launch starts the process and waits until it is ready; tests that ended it call it to start it again.
func (g *Gateway) Launch() {
	g.t.Helper()
	g.process = exec.Command(g.binary, "serve", "--config", filepath.Join(g.Dir, "gateway.yaml"))
	g.process.Dir = g.Dir // files are then named as an operator who stands beside them would
	g.process.Stderr = g.log
	g.ended = make(chan error, 1)
	if err := g.process.Start(); err != nil {
		g.t.Fatal(err)
	}
	ended := g.ended
	go func(process *exec.Cmd) { ended <- process.Wait() }(g.process)
	for deadline := time.Now().Add(30 * time.Second); ; {
		response, err := http.Get(g.AdminURL + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-g.ended:
			g.ended <- err
			g.t.Fatalf("the gateway ended: %v\n%s", err, g.Log())
		case <-time.After(10 * time.Millisecond): // the process has no other way to tell that it listens
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("the gateway is not ready after 30 s\n%s", g.Log())
		}
	}
}

// Terminate asks the process to end, as an orchestrator does, and returns what it ended with.
func (g *Gateway) Terminate() error { return g.end(syscall.SIGTERM) }

// Kill ends the process at once, as a crash does.
func (g *Gateway) Kill() { _ = g.end(syscall.SIGKILL) }

// Signal sends the process a signal.
func (g *Gateway) Signal(signal os.Signal) { _ = g.process.Process.Signal(signal) }

// PID is the process's id.
func (g *Gateway) PID() int { return g.process.Process.Pid }

func (g *Gateway) end(signal os.Signal) error {
	if g.process == nil {
		return nil
	}
	_ = g.process.Process.Signal(signal) // it may have ended by itself
	select {
	case err := <-g.ended:
		g.process = nil
		return err
	case <-time.After(30 * time.Second):
		_ = g.process.Process.Kill()
		g.process = nil
		return errors.New("the gateway did not end within 30 s")
	}
}

func (g *Gateway) stop() {
	if err := g.end(syscall.SIGTERM); err != nil {
		g.t.Errorf("the gateway ended with %v", err)
	}
	if g.t.Failed() {
		g.t.Logf("the gateway's log:\n%s", g.Log())
	}
}

// Log is what the process wrote to standard error so far.
func (g *Gateway) Log() string { return g.log.String() }

// Path is a path in the gateway's folder.
func (g *Gateway) Path(name string) string { return filepath.Join(g.Dir, name) }

func (g *Gateway) write(name, content string) {
	g.t.Helper()
	if err := os.WriteFile(g.Path(name), []byte(content), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// Write replaces a file in the gateway's folder.
func (g *Gateway) Write(name, content string) { g.t.Helper(); g.write(name, content) }

// Run runs a further command of the gateway on the same configuration and returns its standard output and error.
func (g *Gateway) Run(args ...string) (stdout, stderr string, err error) {
	return Command(g.binary, append(args, "--config", g.Path("gateway.yaml"))...)
}

// Token mints a token on the command line, for somebody in the given team.
func (g *Gateway) Token(team string) string {
	g.t.Helper()
	stdout, stderr, err := g.Run("token", "create", "--subject", team+"-robot", "--team", team, "--name", "test")
	if err != nil {
		g.t.Fatalf("minting a token for %s: %v\n%s", team, err, stderr)
	}
	return strings.TrimSpace(stdout)
}

// JWT is a bearer token of one of the identity provider's people.
func (g *Gateway) JWT(subject string, changes ...idp.Change) string {
	return g.People.Token(subject, Audience, changes...)
}

// Answer is an answer read whole.
type Answer struct {
	*http.Response
	Text string
}

// Do sends a request with a bearer token ("" for none) and headers in pairs, and reads the answer.
func (g *Gateway) Do(token, method, path, body string, headers ...string) Answer {
	g.t.Helper()
	request, err := http.NewRequest(method, g.URL+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatalf("%s %s: reading the answer: %v", method, path, err)
	}
	return Answer{Response: response, Text: string(data)}
}

// client follows no redirects, since the gateway's own answer is what tests look at.
var client = &http.Client{
	Timeout:       60 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Get reads path with a bearer token.
func (g *Gateway) Get(token, path string, headers ...string) Answer {
	g.t.Helper()
	return g.Do(token, http.MethodGet, path, "", headers...)
}

// Problem is the body of a refusal.
type Problem struct {
	Message    string   `json:"message"`
	Code       string   `json:"code"`
	RequestID  string   `json:"request_id"`
	Missing    []string `json:"missing"`
	RetryAfter int      `json:"retry_after"`
}

// Problem reads the answer as a refusal.
func (a Answer) Problem(t testing.TB) Problem {
	t.Helper()
	var p Problem
	if err := json.Unmarshal([]byte(a.Text), &p); err != nil {
		t.Fatalf("answer %d is no problem: %v: %q", a.StatusCode, err, a.Text)
	}
	return p
}

// Audit returns the audit records of one request, once its outcome is there, in the order they were written.
func (g *Gateway) Audit(requestID string) []audit.Record {
	g.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) { // the log is another process's file
		var found []audit.Record
		for _, record := range g.AllAudit() {
			if record.RequestID == requestID {
				found = append(found, record)
			}
		}
		if n := len(found); n > 0 && found[n-1].Phase == audit.Outcome {
			return found
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("no outcome of request %s in the audit log; found %+v", requestID, found)
		}
	}
}

// AllAudit returns every record that is in the audit log now.
func (g *Gateway) AllAudit() []audit.Record {
	g.t.Helper()
	var records []audit.Record
	files, err := filepath.Glob(g.Path("state/audit/*.jsonl"))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			g.t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var record audit.Record
			if json.Unmarshal(line, &record) == nil { // the last line may be half written
				records = append(records, record)
			}
		}
	}
	return records
}

// Command runs a program and returns what it printed. It is killed after a minute.
func Command(name string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	command := exec.CommandContext(ctx, name, args...)
	command.Stdout, command.Stderr = &out, &errOut
	err = command.Run()
	return out.String(), errOut.String(), err
}

// safeBuffer is a buffer that is written to while it is read.
type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
