package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// startSandbox runs `gateway sandbox` with arguments and returns its address and its token, and what stops it.
func startSandbox(t *testing.T, args ...string) (url, token string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	command := sandboxCommand()
	command.SetArgs(append([]string{"--listen", "127.0.0.1:0"}, args...))
	command.SetOut(in)
	command.SilenceErrors, command.SilenceUsage = true, true
	done := make(chan error, 1)
	go func() {
		done <- command.ExecuteContext(ctx)
		in.Close()
	}()
	told := map[string]string{}
	lines := bufio.NewScanner(out)
	for told["try"] == "" && lines.Scan() {
		word, value, _ := strings.Cut(lines.Text(), " ")
		told[word] = strings.TrimSpace(value)
	}
	if told["listening"] == "" {
		cancel()
		t.Fatalf("it did not start: %v", <-done)
	}
	stop = func() error { cancel(); return <-done }
	t.Cleanup(cancel)
	return told["listening"], strings.Fields(told["token"])[0], stop
}

func askSandbox(t *testing.T, method, url, token, body string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func TestSandboxCommand(t *testing.T) {
	url, token, stop := startSandbox(t, "--window", "10s", "--reset-unit", "milliseconds", "--fault", "status=503,path=/v1/organizations,times=1")
	if !regexp.MustCompile(`^sbp_[a-f0-9]{40}$`).MatchString(token) {
		t.Errorf("made up token %q, which the Supabase CLI refuses", token)
	}
	response, body := askSandbox(t, "GET", url+"/v1/projects", token, "")
	var projects []struct{ Ref string }
	if err := json.Unmarshal([]byte(body), &projects); err != nil || response.StatusCode != 200 || len(projects) == 0 {
		t.Errorf("projects: %s, %d of them, %v", response.Status, len(projects), err)
	}
	if reset := response.Header.Get("X-RateLimit-Reset"); reset != "10000" {
		t.Errorf("a fresh window of 10 s shows %s ms", reset)
	}
	for _, want := range []int{503, 200} {
		if response, _ := askSandbox(t, "GET", url+"/v1/organizations", token, ""); response.StatusCode != want {
			t.Errorf("organizations: %s, want %d", response.Status, want)
		}
	}
	if response, _ := askSandbox(t, "GET", url+"/v1/projects", "sbp_unknown", ""); response.StatusCode != 401 {
		t.Errorf("unknown token: %s", response.Status)
	}
	askSandbox(t, "POST", url+"/_sandbox/faults", "", `["status=418"]`)
	if response, _ := askSandbox(t, "GET", url+"/v1/projects", token, ""); response.StatusCode != 418 {
		t.Errorf("after a fault was added: %s", response.Status)
	}
	if _, log := askSandbox(t, "GET", url+"/_sandbox/requests", "", ""); strings.Count(log, `"target"`) != 5 {
		t.Errorf("the log is %s", log)
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestSandboxStopsThoughARequestHangs(t *testing.T) {
	url, token, stop := startSandbox(t, "--fault", "hang")
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /v1/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+"\r\n\r\n")
	for {
		if _, log := askSandbox(t, "GET", url+"/_sandbox/requests", "", ""); strings.Contains(log, "/v1/projects") {
			break
		}
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestSandboxTokensByOwner(t *testing.T) {
	url, _, _ := startSandbox(t, "--token", "ada=sbp_a1", "--token", "ada=sbp_a2", "--token", "sbp_b")
	var left []string
	for _, token := range []string{"sbp_a1", "sbp_a2", "sbp_b"} {
		response, _ := askSandbox(t, "GET", url+"/v1/projects", token, "")
		left = append(left, response.Header.Get("X-RateLimit-Remaining"))
	}
	if got := strings.Join(left, " "); got != "119 118 119" {
		t.Errorf("remaining %s, want 119 118 119: the tokens of one owner share a quota", got)
	}
}

func TestSandboxFaultsOfTheCommandLine(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"--fault explode --fault status=1 --token ada= --oauth-client x", []string{`"explode"`, "status 1", "--token", "--oauth-client"}},
		{"--granularity world --window -1s", []string{`granularity "world"`, "window -1s"}},
		{"--listen " + busy.Addr().String(), []string{busy.Addr().String(), "address already in use"}},
		{"now", []string{"now"}},
	} {
		command := sandboxCommand()
		command.SetArgs(strings.Fields(tt.args))
		command.SilenceErrors, command.SilenceUsage = true, true
		err := command.ExecuteContext(t.Context())
		for _, text := range tt.want {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("gateway sandbox %s: %v, want it to name %s", tt.args, err, text)
			}
		}
	}
}
