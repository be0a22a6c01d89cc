package sandbox

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// panel is the switches of a sandbox whose every other path answers 418.
func panel(t *testing.T) (*Sandbox, http.Handler) {
	t.Helper()
	faults, err := newFaults(FaultConfig{})
	if err != nil {
		t.Fatal(err)
	}
	limits, err := newLimits(LimitConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s := &Sandbox{recorder: newRecorder(func(*http.Request) string { return "" }), faults: faults, limits: limits}
	return s, s.withControl(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
}

// operate makes one control request, from loopback unless changed.
func operate(h http.Handler, method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:5000", "127.0.0.1:9901"
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestControlFaults(t *testing.T) {
	s, h := panel(t)
	for _, step := range []struct {
		method, path, body string
		status             int
		rules              string // afterwards
	}{
		{"POST", "/_sandbox/faults", `["status=503,times=2", "hang,path=/v1/x"]`, 204, `["status=503,times=2","hang,path=/v1/x"]`},
		{"POST", "/_sandbox/faults", `["reset"]`, 204, `["status=503,times=2","hang,path=/v1/x","reset"]`},
		{"POST", "/_sandbox/faults", `["explode"]`, 400, `["status=503,times=2","hang,path=/v1/x","reset"]`},
		{"PUT", "/_sandbox/faults", `["cut=10"]`, 204, `["cut=10"]`},
		{"PUT", "/_sandbox/faults", `{`, 400, `["cut=10"]`},
		{"DELETE", "/_sandbox/faults", ``, 204, `[]`},
	} {
		if got := operate(h, step.method, step.path, step.body); got.Code != step.status {
			t.Errorf("%s %s = %d %s, want %d", step.method, step.body, got.Code, got.Body, step.status)
		}
		if got := strings.TrimSpace(operate(h, "GET", "/_sandbox/faults", "").Body.String()); got != step.rules {
			t.Errorf("after %s %s: %s, want %s", step.method, step.body, got, step.rules)
		}
	}
	if got := operate(h, "PUT", "/_sandbox/delay", `{"latency": "50ms", "jitter": "10ms"}`); got.Code != 204 || s.faults.latency != 50*time.Millisecond || s.faults.jitter != 10*time.Millisecond {
		t.Errorf("delay: %d %s", got.Code, got.Body)
	}
}

func TestControlLimits(t *testing.T) {
	_, h := panel(t)
	set := `{"window": "2s", "reset_unit": "milliseconds", "granularity": "endpoint", "block_on_overshoot": true, "headers": "always", "bare_429": true, "outsider": 0.5}`
	if got := operate(h, "PUT", "/_sandbox/limits", set); got.Code != 204 {
		t.Fatalf("PUT: %d %s", got.Code, got.Body)
	}
	if got := operate(h, "POST", "/_sandbox/spend", `{"owner": "ada", "scope": "project:a", "operation": "GET /v1/projects/{ref}", "n": 7}`); got.Code != 204 {
		t.Fatalf("spend: %d %s", got.Code, got.Body)
	}
	var told struct {
		Config  map[string]any
		Refused int
		Buckets []struct {
			Owner, Scope, Operation string
			Remaining               int
		}
	}
	if err := json.Unmarshal(operate(h, "GET", "/_sandbox/limits", "").Body.Bytes(), &told); err != nil {
		t.Fatal(err)
	}
	if told.Config["window"] != "2s" || told.Config["reset_unit"] != "milliseconds" || told.Config["bare_429"] != true || told.Config["off"] != false {
		t.Errorf("configuration %v", told.Config)
	}
	if len(told.Buckets) != 1 || told.Buckets[0].Owner != "ada" || told.Buckets[0].Remaining != 113 {
		t.Errorf("buckets %+v", told.Buckets)
	}
	for _, wrong := range []string{`{"window": "soon"}`, `{"granularity": "world"}`, `{"granularty": "scope"}`, `[]`} {
		if got := operate(h, "PUT", "/_sandbox/limits", wrong); got.Code != 400 || !strings.Contains(got.Body.String(), "message") {
			t.Errorf("PUT %s = %d %s, want 400", wrong, got.Code, got.Body)
		}
	}
}

func TestControlRequests(t *testing.T) {
	s, h := panel(t)
	recorded := s.recorder.wrap(h)
	recorded.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/projects?a=%2F", nil))
	var got []Request
	if err := json.Unmarshal(operate(h, "GET", "/_sandbox/requests", "").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Target != "/v1/projects?a=%2F" || got[0].Status != http.StatusTeapot {
		t.Errorf("told %+v", got)
	}
	if answer := operate(h, "DELETE", "/_sandbox/requests", ""); answer.Code != 204 || len(s.Requests()) != 0 {
		t.Errorf("DELETE = %d, %d are left", answer.Code, len(s.Requests()))
	}
}

func TestControlIsForLoopbackOnly(t *testing.T) {
	from := func(address string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = address } }
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	origin := func(value string) func(*http.Request) { return func(r *http.Request) { r.Header.Set("Origin", value) } }
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"loopback", from("127.0.0.1:5"), 204},
		{"IPv6 loopback", from("[::1]:5"), 204},
		{"mapped loopback", from("[::ffff:127.0.0.1]:5"), 204},
		{"by name", host("localhost:9901"), 204},
		{"without port", host("[::1]"), 204},
		{"elsewhere", from("10.0.0.1:5"), 403},
		{"unreadable", from("@"), 403},
		{"rebound name", host("evil.example:9901"), 403},
		{"name that begins alike", host("127.0.0.1.evil.example"), 403},
		{"a page in the browser", origin("https://evil.example"), 403},
	} {
		_, h := panel(t)
		if got := operate(h, "POST", "/_sandbox/faults", `["reset"]`, tt.change); got.Code != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got.Code, tt.want)
		}
	}
}

func TestControlLeavesOtherPathsAlone(t *testing.T) {
	_, h := panel(t)
	for path, want := range map[string]int{"/v1/projects": 418, "/_sandboxes": 418, "/v1/_sandbox/faults": 418, "/_sandbox/nothing": 404} {
		if got := operate(h, "GET", path, ""); got.Code != want {
			t.Errorf("GET %s = %d, want %d", path, got.Code, want)
		}
	}
}
