package sandbox

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// recorded runs one handler behind a Recorder and gives the address it listens at. The owner is the bearer token.
func recorded(t *testing.T, h http.HandlerFunc) (*Recorder, string) {
	t.Helper()
	r := newRecorder(func(r *http.Request) string { return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") })
	server := httptest.NewServer(r.wrap(h))
	t.Cleanup(server.Close)
	return r, server.Listener.Addr().String()
}

// raw sends bytes and returns the status line, once the server has closed the connection: by then the request is recorded.
func raw(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, request)
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bufio.NewReader(strings.NewReader(string(answer))).ReadLine()
	return string(line)
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestRecordsWhatWasReceived(t *testing.T) {
	r, address := recorded(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	raw(t, address, "POST /v1/a%2fb/../c;d?x=%zz&x=+ HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer ada\r\nConnection: close\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")
	requests := r.Requests()
	if len(requests) != 1 {
		t.Fatalf("%d requests recorded", len(requests))
	}
	got := requests[0]
	if got.Method != "POST" || got.Target != "/v1/a%2fb/../c;d?x=%zz&x=+" || got.Host != "api.example" || got.Owner != "ada" {
		t.Errorf("recorded %s %s at %s by %s", got.Method, got.Target, got.Host, got.Owner)
	}
	if got.Header.Get("Authorization") != "Bearer ada" || got.Trailer.Get("X-Sum") != "5" {
		t.Errorf("recorded header %v, trailer %v", got.Header, got.Trailer)
	}
	if got.ContentLength != -1 || got.BodyBytes != 5 || got.BodySHA256 != sumOf("abcde") || got.Status != 201 {
		t.Errorf("recorded length %d, body of %d bytes %s, status %d", got.ContentLength, got.BodyBytes, got.BodySHA256, got.Status)
	}
	if got.Start.IsZero() || got.End.Before(got.Start) {
		t.Errorf("from %v to %v", got.Start, got.End)
	}
}

func TestRecordsStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   int
	}{
		"nothing written": {func(http.ResponseWriter, *http.Request) {}, 200},
		"body only":       {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }, 200},
		"first counts":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); io.WriteString(w, "x") }, 404},
		"after 1xx":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(204) }, 204},
		"aborted":         {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0},
		"aborted later":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic(http.ErrAbortHandler) }, 200},
	} {
		r, address := recorded(t, tt.answer)
		raw(t, address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if got := r.Requests()[0]; got.Status != tt.want || got.End.IsZero() {
			t.Errorf("%s: status %d ended %v, want %d and ended", name, got.Status, got.End, tt.want)
		}
	}
}

func TestRecordsABodyNobodyRead(t *testing.T) {
	r, address := recorded(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })
	raw(t, address, "DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nabcde")
	if got := r.Requests()[0]; got.BodyBytes != 5 || got.BodySHA256 != sumOf("abcde") {
		t.Errorf("recorded %d bytes", got.BodyBytes)
	}
}

func TestDoesNotWaitForABodyThatWasNotInvited(t *testing.T) {
	r, address := recorded(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) })
	got := raw(t, address, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if got != "HTTP/1.1 401 Unauthorized" || r.Requests()[0].BodyBytes != 0 {
		t.Errorf("answered %q", got)
	}
}

func TestShowsARequestThatIsBeingAnswered(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	r, address := recorded(t, func(http.ResponseWriter, *http.Request) { close(entered); <-leave })
	done := make(chan string)
	go func() { done <- raw(t, address, "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") }()
	<-entered
	if got := r.Requests(); len(got) != 1 || got[0].Target != "/slow" || !got[0].End.IsZero() || got[0].Status != 0 {
		t.Errorf("while it is answered: %+v", got)
	}
	close(leave)
	<-done
	if got := r.Requests(); got[0].End.IsZero() {
		t.Error("it never ended")
	}
}

func TestLogIsBoundedAndKeepsTheNewest(t *testing.T) {
	r := newRecorder(func(*http.Request) string { return "" })
	handler := r.wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for i := range maxRecorded + 10 {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", fmt.Sprintf("/%d", i), nil))
	}
	got := r.Requests()
	if len(got) != maxRecorded || r.Total() != maxRecorded+10 {
		t.Fatalf("%d of %d kept", len(got), r.Total())
	}
	for i, request := range got {
		if want := fmt.Sprintf("/%d", i+10); request.Target != want {
			t.Fatalf("request %d is %s, want %s", i, request.Target, want)
		}
	}
	r.Reset()
	if len(r.Requests()) != 0 || r.Total() != 0 {
		t.Error("Reset keeps requests")
	}
}

func TestPassesThroughWhatHandlersNeed(t *testing.T) {
	_, address := recorded(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		conn.Close()
	})
	raw(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
}
