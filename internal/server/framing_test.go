package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/server"
)

// inTwoWays are requests that two readers of one connection can take apart differently.
var inTwoWays = map[string]string{
	"Content-Length and chunks":             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunks and Content-Length":             "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"Content-Length and chunks, lower case": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
	"Content-Length: 0 and chunks":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"Content-Length and a folded coding":    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
	"two different Content-Lengths":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"two equal Content-Lengths":             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"a list of Content-Lengths":             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello",
	"a signed Content-Length":               "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
	"a negative Content-Length":             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello",
	"a hexadecimal Content-Length":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello",
	"an empty Content-Length":               "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nhello",
	"a huge Content-Length":                 "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
	"two codings":                           "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
	"chunks in HTTP/1.0":                    "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
	"header lines that end in LF":           "GET / HTTP/1.1\nHost: x\n\n",
	"one header line that ends in LF":       "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\nContent-Length: 5\r\n\r\nhello",
	"an empty line of LF":                   "GET / HTTP/1.1\r\nHost: x\r\n\n",
	"a folded field":                        "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\tc: d\r\n\r\n",
}

func TestARequestThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	good := "POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
	for name, request := range inTwoWays {
		if server.Follow(request) == nil {
			t.Errorf("%s: read without complaint", name)
		}
		if server.Follow(good+request) == nil {
			t.Errorf("%s, behind another request: read without complaint", name)
		}
		if server.Follow(strings.Split(request, "")...) == nil {
			t.Errorf("%s, byte by byte: read without complaint", name)
		}
	}
}

func TestHonestRequestsAreFollowed(t *testing.T) {
	smuggled := inTwoWays["Content-Length and chunks"]
	for name, stream := range map[string]string{
		"requests without bodies":             "GET / HTTP/1.1\r\nHost: x\r\n\r\nDELETE / HTTP/1.1\r\nHost: x\r\n\r\n",
		"bodies of known length":              "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabPUT / HTTP/1.1\r\nContent-Length:1 \r\n\r\nc",
		"an empty body":                       "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"a body that looks like a request":    "POST / HTTP/1.1\r\nContent-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled + "GET / HTTP/1.1\r\n\r\n",
		"chunks":                              "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n0\r\n\r\n",
		"fields that sound like the lengths":  "GET / HTTP/1.1\r\nContent-Lengths: x\r\nTe: trailers\r\nX-Transfer-Encoding: y\r\nContent-Type: text/plain\r\n\r\n",
		"an empty line before a request":      "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\na\r\nGET / HTTP/1.1\r\n\r\n",
		"HTTP/1.0":                            "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
		"a length that ends the request line": "GET /Content-Length:5 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		if err := server.Follow(stream); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := server.Follow(strings.Split(stream, "")...); err != nil {
			t.Errorf("%s, byte by byte: %v", name, err)
		}
	}
}

// FuzzFraming: how the bytes are cut into reads must not matter, or an attacker could choose the cut.
func FuzzFraming(f *testing.F) {
	for _, request := range inTwoWays {
		f.Add([]byte(request), 7)
	}
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		whole := server.Follow(string(data))
		cut = max(0, min(cut, len(data)))
		if parts := server.Follow(string(data[:cut]), string(data[cut:])); (whole == nil) != (parts == nil) {
			t.Errorf("read at once: %v; cut at %d: %v", whole, cut, parts)
		}
	})
}

func TestASmuggledRequestIsAnswered400AndTheConnectionClosed(t *testing.T) {
	for scheme, s := range map[string]*running{"http": start(t, nil), "https": start(t, certificate(t))} {
		for name, request := range inTwoWays {
			t.Run(scheme+"/"+name, func(t *testing.T) {
				conn := s.dial(t, "http/1.1")
				io.WriteString(conn, request+"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
				answers := bufio.NewReader(conn)
				response, err := http.ReadResponse(answers, nil)
				if err != nil || response.StatusCode != http.StatusBadRequest {
					t.Fatalf("answered %+v, %v; want 400", response, err)
				}
				io.Copy(io.Discard, response.Body)
				if rest, err := io.ReadAll(answers); len(rest) > 0 || err != nil && !isReset(err) {
					t.Errorf("after the answer came %q, %v; want the connection closed", rest, err)
				}
			})
		}
		if seen := s.paths(); len(seen) > 0 {
			t.Errorf("%s: handled %q, want nothing", scheme, seen)
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

// BenchmarkFraming is what following costs a request with the header of a browser's.
func BenchmarkFraming(b *testing.B) {
	request := []byte("GET /v1/projects/abcdefghijklmnopqrst/functions HTTP/1.1\r\nHost: supabase.corp.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
		"Accept: application/json\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nContent-Type: application/json\r\nX-Client-Info: supabase-js/2\r\n" +
		"Authorization: Bearer " + strings.Repeat("x", 1200) + "\r\nConnection: keep-alive\r\n\r\n")
	follow := server.NewFollower()
	b.SetBytes(int64(len(request)))
	b.ReportAllocs()
	for b.Loop() {
		// A connection that waits for its next request reads one byte by itself.
		if err := follow(request[:1]); err != nil {
			b.Fatal(err)
		}
		if err := follow(request[1:]); err != nil {
			b.Fatal(err)
		}
	}
}

func isReset(err error) bool {
	var failed *net.OpError
	return errors.As(err, &failed) && !failed.Timeout()
}

// patience is how long a test waits for what must come.
const patience = 10 * time.Second
