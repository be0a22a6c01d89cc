package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What http1 leaves to net/http is still read in one way only.
func TestASmuggledRequestIsAnswered400AndTheConnectionClosed(t *testing.T) {
	for scheme, s := range map[string]*running{"http": start(t, nil), "https": start(t, certificate(t))} {
		conn := s.dial(t, "http/1.1")
		io.WriteString(conn, "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n"+
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
		answers := bufio.NewReader(conn)
		for _, want := range []int{http.StatusOK, http.StatusBadRequest} {
			response, err := http.ReadResponse(answers, nil)
			if err != nil || response.StatusCode != want {
				t.Fatalf("%s: answered %+v, %v; want %d", scheme, response, err, want)
			}
			io.Copy(io.Discard, response.Body)
		}
		if rest, err := io.ReadAll(answers); len(rest) > 0 || err != nil && !isReset(err) {
			t.Errorf("%s: after the answers came %q, %v; want the connection closed", scheme, rest, err)
		}
		if seen := s.paths(); len(seen) != 1 || seen[0] != "/plain" {
			t.Errorf("%s: handled %q, want what came before", scheme, seen)
		}
	}
}

func TestNothingBehindChunksIsReadAsARequest(t *testing.T) {
	s := start(t, nil)
	conn := s.dial(t, "")
	io.WriteString(conn, "POST /first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
	all, _ := io.ReadAll(conn) // closing with unread bytes may reset
	if got := s.paths(); len(got) != 1 || got[0] != "/first" || strings.Count(string(all), "HTTP/1.1 200") != 1 || !strings.Contains(string(all), "Connection: close") {
		t.Errorf("handled %q, answered %q", got, all)
	}
}

func TestAChunkLineThatEndsInLFIsRefused(t *testing.T) {
	for name, body := range map[string]string{
		"size":      "1\na\r\n0\r\n\r\n",
		"extension": "1;x=\n\r\na\r\n0\r\n\r\n",
		"last":      "1\r\na\r\n0\n\r\n",
		"data":      "1\r\na\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			conn := s.dial(t, "")
			io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"+body+"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
			all, _ := io.ReadAll(conn)
			if !strings.HasPrefix(string(all), "HTTP/1.1 400") || strings.Count(string(all), "HTTP/1.1") != 1 {
				t.Errorf("answered %q, want one 400", all)
			}
			for _, path := range s.paths() {
				if path == "/smuggled" {
					t.Error("what followed the chunks was taken for a request")
				}
			}
		})
	}
}

func TestOptionsOfTheWholeServerGoThroughTheLine(t *testing.T) {
	s := start(t, nil)
	conn := s.dial(t, "")
	io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	all, _ := io.ReadAll(conn)
	if got := s.paths(); len(got) != 1 || got[0] != "*" || !strings.Contains(string(all), "X-Request-Id") {
		t.Errorf("handled %q, answered %q", got, all)
	}
}

func TestARequestIsServedWholeHoweverItIsCut(t *testing.T) {
	s := start(t, nil)
	conn := s.dial(t, "")
	answers := bufio.NewReader(conn)
	for range 3 {
		for _, b := range []byte("POST /cut HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc") {
			if _, err := conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("answered %+v, %v", response, err)
		}
		if body, _ := io.ReadAll(response.Body); string(body) != "abc" {
			t.Errorf("received %q, want abc", body)
		}
	}
}

func isReset(err error) bool {
	var failed *net.OpError
	return errors.As(err, &failed) && !failed.Timeout()
}

// patience is how long a test waits for what must come.
const patience = 10 * time.Second
