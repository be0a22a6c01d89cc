package sandbox

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// faulty listens with faults in front of an operation that answers "carried out" and counts how often it was.
type faulty struct {
	*Faults
	url     string
	client  *http.Client
	carried atomic.Int32
}

const carriedOut = "carried out"

func newFaulty(t *testing.T, rules ...string) *faulty {
	t.Helper()
	faults, err := newFaults(FaultConfig{})
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{Faults: faults}
	f.add(t, rules...)
	operation := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		f.carried.Add(1)
		io.WriteString(w, carriedOut)
	})
	server := httptest.NewServer(f.wrap(operation))
	t.Cleanup(server.Close)
	f.url = server.URL
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	// A connection for each request: the client would quietly repeat one that met a reset on a used connection.
	f.client = &http.Client{CheckRedirect: noRedirects, Transport: &http.Transport{DisableKeepAlives: true}}
	return f
}

func (f *faulty) add(t *testing.T, rules ...string) {
	t.Helper()
	for _, rule := range rules {
		fault, err := ParseFault(rule)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Add(fault); err != nil {
			t.Fatal(err)
		}
	}
}

// ask returns the answer, its body, and what went wrong on the way.
func (f *faulty) ask(t *testing.T, method, path string) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, f.url+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer sbp_secret")
	resp, err := f.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func TestFaultKinds(t *testing.T) {
	for _, tt := range []struct {
		rule    string
		check   func(resp *http.Response, body string, err error) bool
		carried int32
	}{
		{"status=503", func(resp *http.Response, body string, err error) bool {
			return err == nil && resp.StatusCode == 503 && strings.Contains(body, `"message"`)
		}, 0},
		{"status=429,header=retry-after: 7", func(resp *http.Response, _ string, err error) bool {
			return err == nil && resp.StatusCode == 429 && resp.Header.Get("Retry-After") == "7"
		}, 0},
		{"status=403,lacks=database_read+database_write", func(resp *http.Response, body string, err error) bool {
			return err == nil && resp.StatusCode == 403 && strings.Contains(body, `"missing_permissions":["database_read","database_write"]`)
		}, 0},
		{"status=500,late", func(resp *http.Response, body string, err error) bool {
			return err == nil && resp.StatusCode == 500 && !strings.Contains(body, carriedOut)
		}, 1},
		{"reset", func(_ *http.Response, _ string, err error) bool { return errors.Is(err, syscall.ECONNRESET) }, 0},
		{"reset,late", func(_ *http.Response, _ string, err error) bool { return errors.Is(err, syscall.ECONNRESET) }, 1},
		{"cut=4", func(resp *http.Response, body string, err error) bool {
			return resp != nil && resp.StatusCode == 200 && body == carriedOut[:4] && errors.Is(err, io.ErrUnexpectedEOF)
		}, 1},
		{"cut=11", func(_ *http.Response, body string, err error) bool { return err == nil && body == carriedOut }, 1},
		{"redirect=https://evil.example", func(resp *http.Response, _ string, err error) bool {
			return err == nil && resp.StatusCode == 307 && resp.Header.Get("Location") == "https://evil.example/v1/projects?a=%2F"
		}, 0},
		{"echo", func(resp *http.Response, body string, err error) bool {
			return err == nil && resp.StatusCode == 200 && strings.Contains(body, "sbp_secret")
		}, 0},
		{"echo=error", func(resp *http.Response, body string, err error) bool {
			return err == nil && resp.StatusCode == 500 && strings.Contains(body, "sbp_secret") && strings.Contains(body, `"message"`)
		}, 0},
		{"echo=header", func(resp *http.Response, body string, err error) bool {
			return err == nil && body == carriedOut && resp.Header.Get("X-Echo-Authorization") == "Bearer sbp_secret"
		}, 1},
		{"slow=1ms,bytes=2", func(_ *http.Response, body string, err error) bool { return err == nil && body == carriedOut }, 1},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := newFaulty(t, tt.rule)
			resp, body, err := f.ask(t, "POST", "/v1/projects?a=%2F")
			if !tt.check(resp, body, err) {
				t.Errorf("answered %v with %q, %v", resp, body, err)
			}
			if got := f.carried.Load(); got != tt.carried {
				t.Errorf("carried out %d times, want %d", got, tt.carried)
			}
		})
	}
}

func TestHangEndsWithItsClient(t *testing.T) {
	ended := make(chan any)
	faults, err := newFaults(FaultConfig{Rules: []Fault{{Kind: FaultHang}}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- recover() }()
		faults.wrap(http.NotFoundHandler()).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
	conn.Close()
	if got := <-ended; got != http.ErrAbortHandler {
		t.Errorf("ended with %v, want an abort", got)
	}
}

func TestWhichRequestsAreHit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules []string
		asks  []string // "METHOD path want"
	}{
		{"every", []string{"status=500"}, []string{"GET /a 500", "POST /b 500"}},
		{"method", []string{"status=500,method=post"}, []string{"GET /a 200", "POST /a 500"}},
		{"path prefix", []string{"status=500,path=/v1/pro"}, []string{"GET /v1/projects 500", "GET /v1/projects/x?y 500", "GET /v1/organizations 200"}},
		{"both", []string{"status=500,method=GET,path=/a"}, []string{"POST /a 200", "GET /b 200", "GET /a 500"}},
		{"raw path", []string{"status=500,path=/%61"}, []string{"GET /a 200", "GET /%61 500"}},
		{"the next two", []string{"status=500,times=2,path=/a"}, []string{"GET /b 200", "GET /a 500", "GET /a 500", "GET /a 200"}},
		{"the first that matches", []string{"status=501,times=1", "status=502,path=/b,times=1", "status=503"}, []string{"GET /b 501", "GET /b 502", "GET /b 503"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFaulty(t, tt.rules...)
			for _, ask := range tt.asks {
				parts := strings.Fields(ask)
				resp, _, err := f.ask(t, parts[0], parts[1])
				if err != nil || strconv.Itoa(resp.StatusCode) != parts[2] {
					t.Errorf("%s answered %v, %v", ask, resp.StatusCode, err)
				}
			}
		})
	}
}

func TestProbability(t *testing.T) {
	f := newFaulty(t, "status=500,probability=0.25,times=3")
	draws := 0
	f.chance = func() float64 { draws++; return float64(draws%4) / 4 }
	hits := 0
	for range 20 {
		if _, hit := f.pick("GET", "/"); hit {
			hits++
		}
	}
	// 20 requests at one in four would be 5; the rule ends after 3.
	if hits != 3 || len(f.Rules()) != 0 {
		t.Errorf("%d hits with %v left, want 3 and none", hits, f.Rules())
	}
}

func TestRulesTellWhatIsLeft(t *testing.T) {
	f := newFaulty(t, "status=500,times=3", "hang,path=/x")
	f.pick("GET", "/")
	rules := f.Rules()
	if len(rules) != 2 || rules[0].Times != 2 || rules[1].Kind != FaultHang {
		t.Errorf("Rules = %v", rules)
	}
	if err := f.Replace(Fault{Kind: FaultReset}, Fault{Kind: "explode"}); err == nil || len(f.Rules()) != 2 {
		t.Errorf("a wrong Replace: %v, and %v stand", err, f.Rules())
	}
	if err := f.Replace(Fault{Kind: FaultReset}); err != nil || len(f.Rules()) != 1 {
		t.Errorf("Replace: %v, and %v stand", err, f.Rules())
	}
	f.Clear()
	if len(f.Rules()) != 0 {
		t.Errorf("after Clear %v stand", f.Rules())
	}
	if err := f.Add(make([]Fault, maxFaults+1)...); err == nil {
		t.Error("rules are not bounded")
	}
}

func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		name            string
		latency, jitter time.Duration
		chance          float64
		before, total   time.Duration
	}{
		{"none", 0, 0, 0.5, 0, 0},
		{"latency", 100 * time.Millisecond, 0, 0.25, 25 * time.Millisecond, 100 * time.Millisecond},
		{"jitter", 0, 100 * time.Millisecond, 0.5, 25 * time.Millisecond, 50 * time.Millisecond},
		{"both", 60 * time.Millisecond, 80 * time.Millisecond, 0.5, 50 * time.Millisecond, 100 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, err := newFaults(FaultConfig{Latency: tt.latency, Jitter: tt.jitter})
				if err != nil {
					t.Fatal(err)
				}
				f.chance = func() float64 { return tt.chance }
				start := time.Now()
				var before time.Duration
				operation := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { before = time.Since(start) })
				f.wrap(operation).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
				if total := time.Since(start); before != tt.before || total != tt.total {
					t.Errorf("carried out after %v, answered after %v, want %v and %v", before, total, tt.before, tt.total)
				}
			})
		})
	}
	if _, err := newFaults(FaultConfig{Latency: -1}); err == nil {
		t.Error("a negative latency is accepted")
	}
}

func TestSlowBodyTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := newFaults(FaultConfig{Rules: []Fault{{Kind: FaultSlow, Bytes: 10, Pause: time.Second}}})
		if err != nil {
			t.Fatal(err)
		}
		operation := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 95)) })
		start, answer := time.Now(), httptest.NewRecorder()
		f.wrap(operation).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
		if took := time.Since(start); took != 10*time.Second || answer.Body.Len() != 95 {
			t.Errorf("%d bytes in %v, want 95 in ten pauses", answer.Body.Len(), took)
		}
	})
}

func TestFaultText(t *testing.T) {
	for _, text := range []string{
		"status=503,method=GET,path=/v1/projects,probability=0.1,times=3",
		"status=429,late,header=Retry-After: 5,header=X-Request-Id: 1",
		`status=429,"header=Vary: Accept, Origin"`,
		"reset,late",
		"cut=1024,path=/v1/projects/x/functions",
		"hang,method=DELETE",
		"redirect=https://evil.example:8443,status=302",
		"echo=error,status=400",
		"slow=50ms,bytes=512",
	} {
		fault, err := ParseFault(text)
		if err != nil {
			t.Errorf("ParseFault(%q): %v", text, err)
			continue
		}
		again, err := ParseFault(fault.String())
		if err != nil || again.String() != fault.String() {
			t.Errorf("%q becomes %q becomes %q, %v", text, fault, again, err)
		}
	}
	for text, complaint := range map[string]string{
		"":                              "a kind is expected",
		"explode":                       `kind "explode"`,
		"status=abc":                    `status "abc"`,
		"status=99":                     "status 99",
		"status":                        `status ""`,
		"reset=1":                       "reset takes no argument",
		"status=500,mehtod=GET":         `"mehtod"`,
		"status=500,times=-1":           "cannot be negative",
		"status=500,probability=2":      "probability 2",
		"status=500,probability=0":      `probability "0"`,
		"status=500,probability=NaN":    "probability NaN",
		"status=500,late=no":            `late "no"`,
		"status=500,header=Retry":       `header "Retry"`,
		"redirect=evil.example":         `host "evil.example"`,
		"redirect=https://a/b":          `host "https://a/b"`,
		"redirect=https://a,status=200": "status 200",
		"echo=nowhere":                  `into "nowhere"`,
		"slow=fast":                     "fast",
		"hang\nreset":                   "one line",
	} {
		if _, err := ParseFault(text); err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("ParseFault(%q) = %v, want a complaint about %s", text, err, complaint)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	for _, text := range []string{"status=503,path=/v1", "cut=1,times=2", `status=400,"header=A: b, c"`, "echo,late", "slow=1h"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := ParseFault(text)
		if err != nil {
			return
		}
		again, err := ParseFault(fault.String())
		if err != nil || again.String() != fault.String() {
			t.Errorf("%q becomes %q becomes %q, %v", text, fault, again, err)
		}
	})
}

func TestRedirectKeepsTheTarget(t *testing.T) {
	f := newFaulty(t, "redirect=http://other.example,status=302")
	resp, _, err := f.ask(t, "GET", "/v1/a%2Fb?c=d&c=e")
	if err != nil {
		t.Fatal(err)
	}
	if target, err := url.Parse(resp.Header.Get("Location")); err != nil || target.RequestURI() != "/v1/a%2Fb?c=d&c=e" || resp.StatusCode != 302 {
		t.Errorf("sent to %v with %d, %v", target, resp.StatusCode, err)
	}
}
