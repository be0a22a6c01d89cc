package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// FuzzConnection: over a whole connection, however it is cut, handlers see the same requests as by net/http alone behind strict
// framing, and clients the same statuses.
func FuzzConnection(f *testing.F) {
	f.Add([]byte(get+get[:10]), uint64(0))
	for _, requests := range []map[string]string{plainRequests, otherRequests, inTwoWays} {
		for _, text := range requests {
			f.Add([]byte(get+text+get), uint64(len(text)))
		}
	}
	f.Fuzz(sameConnection)
}

func TestAWholeConnectionIsWhatItIsForNetHTTP(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var known []string
	for _, requests := range []map[string]string{plainRequests, plainRequests, otherRequests, inTwoWays} {
		for _, text := range requests {
			known = append(known, text)
		}
	}
	slices.Sort(known)
	for range 1000 {
		var data []byte
		for range 1 + random.IntN(5) {
			data = append(data, known[random.IntN(len(known))]...)
			if random.IntN(3) > 0 {
				data = append(data, "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"...)
			}
		}
		if random.IntN(4) == 0 {
			data[random.IntN(len(data))] = "\r\n :\x00aG"[random.IntN(7)]
		}
		if random.IntN(8) == 0 {
			data = data[:random.IntN(len(data))]
		}
		sameConnection(t, data, random.Uint64())
	}
}

// sameConnection compares what comes of data by this package and by net/http alone.
func sameConnection(t *testing.T, data []byte, cuts uint64) {
	t.Helper()
	here, alone := newScripted(data, cuts), newScripted(data, cuts)
	var seen requestLog
	s := newServer(&seen)
	if rest := s.serveOne(here); rest != nil {
		byNetHTTP(t, &seen, rest)
		<-here.closed
	}
	var want requestLog
	byNetHTTP(t, &want, (&conn{takenConn: takenConn{Conn: alone}}).forNetHTTP(nil))
	<-alone.closed
	if got, want := seen.all(), want.all(); got != want {
		t.Errorf("of %q, cut by %d, handlers saw\n%s\nby net/http alone\n%s", data, cuts, got, want)
	}
	// net/http may answer 400, or nothing, where the data ends within a header.
	got, by := here.statuses(), alone.statuses()
	n := min(len(got), len(by))
	onlyOne := slices.Concat(got[n:], by[n:])
	if !slices.Equal(got[:n], by[:n]) || len(onlyOne) > 0 && !slices.Equal(onlyOne, []int{400}) {
		t.Errorf("of %q, cut by %d, came the statuses %v, by net/http alone %v", data, cuts, got, by)
	}
}

type requestLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *requestLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(r.RequestURI)%2 == 0 {
		r.Context().Done() // as a handler that waits does
	}
	body, err := io.ReadAll(r.Body)
	l.mu.Lock()
	fmt.Fprintf(&l.text, "%s %q %v %q %v %v %v %q %v\n", r.Method, r.RequestURI, r.URL, r.Host, r.Header, r.Trailer, r.ContentLength, body, err)
	l.mu.Unlock()
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		w.Header().Set("Connection", "close") // as the server's oneChunkedRequest
	}
	say(200, string(body))(w, r)
}

func (l *requestLog) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// scripted is a connection over which data comes, cut somewhere, and then the end.
type scripted struct {
	net.Conn // nil
	cuts     *rand.Rand

	mu      sync.Mutex
	left    []byte
	written bytes.Buffer
	once    sync.Once
	closed  chan bool
}

func newScripted(data []byte, cuts uint64) *scripted {
	return &scripted{left: data, cuts: rand.New(rand.NewPCG(cuts, 0)), closed: make(chan bool)}
}

func (c *scripted) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := 1 + c.cuts.IntN(min(len(c.left), len(p)))
	if c.cuts.IntN(3) == 0 {
		n = min(len(c.left), len(p))
	}
	copy(p, c.left[:n])
	c.left = c.left[n:]
	return n, nil
}

func (c *scripted) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written.Write(p)
}

func (c *scripted) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *scripted) CloseWrite() error                { return nil }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }
func (c *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *scripted) LocalAddr() net.Addr              { return c.RemoteAddr() }

func (c *scripted) statuses() (all []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := bufio.NewReader(&c.written)
	for {
		response, err := http.ReadResponse(from, nil)
		if err != nil {
			return all
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return append(all, -response.StatusCode)
		}
		all = append(all, response.StatusCode)
	}
}
