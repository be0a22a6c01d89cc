package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

const (
	appID     = "66666666-6666-4666-8666-666666666666"
	appSecret = "5ec4e7app0000000000000000000000000000000"
	sealKey   = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

// withApp is a gateway that has, beside the shared token, an OAuth app for the payments project; its tokens last for life.
func withApp(life time.Duration) harness.Options {
	return harness.Options{
		State:      "seal_key: {file: seal-key}, ",
		Credential: "{name: app, owner: payments-app, oauth: {client_id: " + appID + ", client_secret: {file: app-secret}}, projects: [" + sandbox.Payments + "]}",
		Files:      map[string]string{"seal-key": sealKey, "app-secret": appSecret},
		Sandbox: func(c *sandbox.Config) {
			c.OAuth = sandbox.OAuthConfig{Clients: map[string]string{appID: appSecret}, Life: life}
			c.Limits = sandbox.LimitConfig{Window: time.Second} // these tests are about other things than the quota
		},
	}
}

// connect runs "gateway credential connect app" as a person with a browser does.
func connect(t *testing.T, g *harness.Gateway) {
	t.Helper()
	command := exec.CommandContext(t.Context(), harness.Binary(t), "credential", "connect", "app", "--listen", "127.0.0.1:0", "--config", g.Path("gateway.yaml"))
	var said strings.Builder
	command.Stderr = &said
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = command.Wait()
		t.Fatalf("no URL: %v\n%s", err, &said)
	}
	response, err := http.Get(strings.TrimSpace(address)) // upstream agrees at once and sends the browser back
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if err := command.Wait(); err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(page), "connected") {
		t.Fatalf("the browser was shown %d %q; the command ended with %v: %s", response.StatusCode, page, err, &said)
	}
}

// listed is the credential's line in "gateway credential list".
func listed(t *testing.T, g *harness.Gateway, name string) (found struct{ Name, Kind, Owner, Health, Fault, Reach, Expires string }) {
	t.Helper()
	stdout, stderr, err := g.Run("credential", "list", "--format", "json")
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	list := []struct{ Name, Kind, Owner, Health, Fault, Reach, Expires string }{}
	if err := json.Unmarshal([]byte(stdout), &list); err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		if one.Name == name {
			return one
		}
	}
	t.Fatalf("%s is not in the list: %s", name, stdout)
	return found
}

// usedFor is the credential that a read of the payments project is made with.
func usedFor(t *testing.T, g *harness.Gateway, token string) string {
	t.Helper()
	a := g.Get(token, own, "Cache-Control", "no-cache")
	if a.StatusCode != http.StatusOK {
		t.Fatalf("answer %d: %s", a.StatusCode, a.Text)
	}
	records := g.Audit(a.Header.Get("X-Request-Id"))
	return records[len(records)-1].Credential
}

func TestAnOAuthAppIsConnectedAndDisconnectedBesideARunningGateway(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, withApp(time.Hour))
	token := g.Token("payments")
	if one := listed(t, g, "app"); one.Kind != "oauth" || one.Health != "not connected" || !strings.Contains(one.Fault, "gateway credential connect app") || one.Owner != "payments-app" || one.Reach != "projects "+sandbox.Payments {
		t.Errorf("before: %+v", one)
	}
	if one := listed(t, g, "shared"); one.Kind != "token" || one.Health != "healthy" || one.Reach != "everything" {
		t.Errorf("the token: %+v", one)
	}
	if got := usedFor(t, g, token); got != "shared" {
		t.Errorf("before it is connected the call is made with %s", got)
	}
	connect(t, g)
	if got := usedFor(t, g, token); got != "app" {
		t.Errorf("at once after, the call is made with %s", got)
	}
	if one := listed(t, g, "app"); one.Health != "healthy" || one.Expires == "" {
		t.Errorf("connected: %+v", one)
	}
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	g.Launch()
	if got := usedFor(t, g, token); got != "app" {
		t.Errorf("after a restart the call is made with %s", got)
	}
	if stdout, stderr, err := g.Run("credential", "disconnect", "app"); err != nil || stdout != "" || !strings.Contains(stderr, "disconnected") {
		t.Errorf("disconnect: %v %s%s", err, stdout, stderr)
	}
	if got := usedFor(t, g, token); got != "shared" {
		t.Errorf("disconnected, and the call is made with %s", got)
	}
	operatorDid(t, g, "gateway-token-create", "gateway-credential-connect", "gateway-credential-disconnect")
	checkNowhere(t, g, "sbp_oauth_", appSecret)
}

func TestA401OfAnOAuthTokenIsNoneOfTheClients(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, withApp(time.Hour))
	token := g.Token("payments")
	connect(t, g)
	for _, call := range []struct{ method, path, body string }{{"GET", own + "/functions", ""}, {"POST", own + "/secrets", `[{"name":"A","value":"b"}]`}} {
		g.Upstream.RevokeAccess()
		a := g.Do(token, call.method, call.path, call.body, "Cache-Control", "no-cache")
		if a.StatusCode >= 300 {
			t.Errorf("%s %s: %d %s", call.method, call.path, a.StatusCode, a.Text)
		}
		records := g.Audit(a.Header.Get("X-Request-Id"))
		if last := records[len(records)-1]; last.Credential != "app" || last.Upstream.Status >= 300 {
			t.Errorf("recorded: %s, upstream %+v", last.Credential, last.Upstream)
		}
	}
	if one := listed(t, g, "app"); one.Health != "healthy" {
		t.Errorf("health: %+v", one)
	}
	checkNowhere(t, g, "sbp_oauth_", appSecret)
}

func TestAPermissionThatTheCredentialLacksIsExplained(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	if err := g.Upstream.Faults().Replace(sandbox.Fault{Kind: sandbox.FaultStatus, Status: 403, Lacks: "edge_functions_read"}); err != nil {
		t.Fatal(err)
	}
	a := g.Get(g.Token("payments"), own+"/functions")
	p := a.Problem(t)
	if a.StatusCode != http.StatusForbidden || p.Code != string(problem.CredentialLacks) || !strings.Contains(p.Message, "edge_functions_read") || len(p.Missing) != 1 {
		t.Errorf("answer %d %s", a.StatusCode, a.Text)
	}
}
