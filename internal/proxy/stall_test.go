package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/problem"
)

func TestAnAnswerThatStallsIsCutAfterTheTimeout(t *testing.T) {
	stalls := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	for how, path := range map[string]string{"streamed": source, "cached": functions} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, options{upstream: stalls}, func(t *testing.T, l *line) {
				began := time.Now()
				a := l.call(t.Context(), "GET", path, "")
				if took := time.Since(began); took != upstreamWait {
					t.Errorf("it took %v, want %v", took, upstreamWait)
				}
				r := l.onlyOutcome(t)
				if r.Outcome != string(problem.UpstreamTimeout) {
					t.Errorf("recorded %s, want upstream_timeout", r.Outcome)
				}
				switch {
				case how == "streamed" && (!a.cut || a.Body.String() != "part" || r.Status != 200):
					t.Errorf("cut %v after %q, status %d; a part must not be taken for the whole", a.cut, a.Body, r.Status)
				case how == "cached" && (a.Code != http.StatusGatewayTimeout || strings.Contains(a.Body.String(), "part")):
					t.Errorf("answer %d %s, want 504 and nothing of the part", a.Code, a.Body)
				}
			})
		})
	}
}

func TestAnUpstreamThatStopsTakingTheBodyIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		l := newLine(t, options{upstream: http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) { <-ended })})
		defer close(ended)
		began := time.Now()
		if a := l.call(t.Context(), "POST", secrets, long); a.Code != http.StatusGatewayTimeout || time.Since(began) != upstreamWait {
			t.Errorf("answer %d %s after %v, want 504 after %v", a.Code, a.Body, time.Since(began), upstreamWait)
		}
	})
}

// pausing waits before each read.
type pausing struct {
	io.Reader
	pause time.Duration
}

func (p pausing) Read(b []byte) (int, error) {
	time.Sleep(p.pause)
	return p.Reader.Read(b)
}

// reluctant is a client that waits before it takes each part of its answer.
type reluctant struct {
	*httptest.ResponseRecorder
	pause time.Duration
}

func (r reluctant) Write(p []byte) (int, error) {
	time.Sleep(r.pause)
	return r.ResponseRecorder.Write(p)
}

func TestASlowClientIsNotAStalledUpstream(t *testing.T) {
	const slow = 2 * upstreamWait
	t.Run("sending", func(t *testing.T) {
		inBubble(t, options{upstream: reply(201, "")}, func(t *testing.T, l *line) {
			// The first part is more than is read ahead, so the pauses come while upstream waits.
			request := httptest.NewRequest("POST", secrets, io.MultiReader(strings.NewReader(long), pausing{strings.NewReader("end"), slow}))
			if a := l.do(request); a.Code != http.StatusCreated {
				t.Errorf("answer %d %s", a.Code, a.Body)
			}
		})
	})
	t.Run("taking", func(t *testing.T) {
		inBubble(t, options{upstream: reply(200, long)}, func(t *testing.T, l *line) {
			request := httptest.NewRequest("GET", source, nil)
			request.Header.Set("Authorization", "Bearer caller")
			w := reluctant{httptest.NewRecorder(), slow}
			l.ServeHTTP(w, request)
			if w.Body.String() != long {
				t.Errorf("%d bytes came through, want %d", w.Body.Len(), len(long))
			}
		})
	})
	t.Run("taking, while its body is still being sent", func(t *testing.T) {
		early := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			_, _ = io.CopyN(io.Discard, r.Body, 1)
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, " last")
		})
		inBubble(t, options{upstream: early}, func(t *testing.T, l *line) {
			request := httptest.NewRequest("POST", secrets, io.MultiReader(strings.NewReader(long), pausing{strings.NewReader("end"), time.Second}))
			request.Header.Set("Authorization", "Bearer caller")
			w := reluctant{httptest.NewRecorder(), slow}
			l.ServeHTTP(w, request)
			if w.Body.String() != "first last" {
				t.Errorf("came through: %q", w.Body)
			}
		})
	})
}

// steady is a client that takes its answer slowly, but all the time.
type steady struct {
	*httptest.ResponseRecorder
	rate     int // bytes per second
	deadline time.Time
}

func (s *steady) SetWriteDeadline(deadline time.Time) error { s.deadline = deadline; return nil }

func (s *steady) Write(p []byte) (int, error) {
	taken := time.Duration(len(p)) * time.Second / time.Duration(s.rate)
	if left := time.Until(s.deadline); !s.deadline.IsZero() && left < taken {
		time.Sleep(left)
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(taken)
	return s.ResponseRecorder.Write(p)
}

func TestAClientThatTakesALargeAnswerSlowlyGetsItsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		size    int
		chunked bool
		seconds int // longer than for nothing at all to be taken; of the large ones, than a call may take to be answered
	}{
		"that is kept":                         {3 << 20, false, 90},
		"too large to keep":                    {cache.DefaultMaxBody + 1<<20, false, 200},
		"too large to keep, of unknown length": {cache.DefaultMaxBody + 1<<20, true, 200},
	} {
		t.Run(name, func(t *testing.T) {
			large := strings.Repeat("x", test.size)
			upstream := func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if test.chunked {
					_ = http.NewResponseController(w).Flush()
				} else {
					w.Header().Set("Content-Length", strconv.Itoa(len(large)))
				}
				_, _ = io.WriteString(w, large)
			}
			inBubble(t, options{upstream: http.HandlerFunc(upstream)}, func(t *testing.T, l *line) {
				request := httptest.NewRequest("GET", functions, nil)
				request.Header.Set("Authorization", "Bearer caller")
				w := &steady{ResponseRecorder: httptest.NewRecorder(), rate: test.size / test.seconds}
				defer func() {
					if value := recover(); value != nil || w.Body.Len() != len(large) {
						t.Errorf("%d of %d bytes came through; %v", w.Body.Len(), len(large), value)
					}
				}()
				l.ServeHTTP(w, request)
			})
		})
	}
}

func TestAReadWhoseBodyTricklesIsUpstreamsFaultAndNoLackOfQuota(t *testing.T) {
	trickle := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 100 { // far longer than any time-out here; for ever, a fault in one would be a test that never ends
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(10 * time.Second):
			case <-r.Context().Done():
				return
			}
		}
	})
	inBubble(t, options{upstream: trickle}, func(t *testing.T, l *line) {
		if a := l.call(t.Context(), "GET", functions, "", "Prefer: wait=1"); a.Code != http.StatusGatewayTimeout || a.problem(t) != problem.UpstreamTimeout {
			t.Errorf("answer %d %s, want 504 upstream_timeout", a.Code, a.Body)
		}
	})
}
