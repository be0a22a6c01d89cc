package http1

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// stage serves a handler over connections, those that are not plain by net/http.
type stage struct {
	*Server
	address string
	secure  bool
	handed  atomic.Int64 // connections that net/http was given
	writes  atomic.Int64
	rest    chan net.Conn
}

// serve serves a handler on a loopback port.
func serve(t testing.TB, handler http.Handler) *stage {
	t.Helper()
	return newStage(t, handler, nil)
}

// serveTLS serves a handler over TLS.
func serveTLS(t testing.TB, handler http.Handler) *stage {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return newStage(t, handler, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
}

func newStage(t testing.TB, handler http.Handler, secure *tls.Config) *stage {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{Server: newServer(handler), address: listener.Addr().String(), secure: secure != nil, rest: make(chan net.Conn)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn = countingConn{conn, &s.writes}
			if secure != nil {
				conn = tls.Server(conn, secure)
			}
			go s.take(conn)
		}
	}()
	rest := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go rest.Serve(handedOver{listener, s.rest})
	t.Cleanup(func() {
		listener.Close()
		close(s.rest)
		rest.Close()
		s.Close()
	})
	return s
}

func newServer(handler http.Handler) *Server {
	return &Server{Handler: handler, HeaderTimeout: patience, IdleTimeout: time.Minute, Log: slog.New(slog.DiscardHandler)}
}

// take serves a connection, and hands on what is left of it.
func (s *stage) take(conn net.Conn) {
	if secure, is := conn.(*tls.Conn); is && secure.Handshake() != nil {
		return
	}
	s.Serve(conn, func(rest net.Conn) {
		s.handed.Add(1)
		s.rest <- rest
	})
}

// serveOne returns what Serve hands over, nil when the connection is over.
func (s *Server) serveOne(conn net.Conn) (rest net.Conn) {
	s.Serve(conn, func(conn net.Conn) { rest = conn })
	return rest
}

// handedOver is the listener of connections that were handed over.
type handedOver struct {
	net.Listener
	conns chan net.Conn
}

func (l handedOver) Close() error { return nil } // the stage closes it

func (l handedOver) Accept() (net.Conn, error) {
	if conn, open := <-l.conns; open {
		return conn, nil
	}
	return nil, net.ErrClosed
}

// countingConn counts what is written.
type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func (c countingConn) WriteBuffers(pieces *net.Buffers) (int64, error) {
	c.writes.Add(1)
	return pieces.WriteTo(c.Conn)
}

func (c countingConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// dial opens a connection that a test cannot hang on.
func (s *stage) dial(t testing.TB) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.address, patience)
	if err != nil {
		t.Fatal(err)
	}
	if s.secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return &client{Conn: conn, from: bufio.NewReader(conn)}
}

// client is the other end of a connection.
type client struct {
	net.Conn
	from *bufio.Reader
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

func (c *client) say(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("sending %.40q: %v", text, err)
	}
}

// expect reads one answer.
func (c *client) expect(t testing.TB, status int, body string) *http.Response {
	t.Helper()
	response, err := http.ReadResponse(c.from, nil)
	if err != nil {
		t.Fatalf("reading an answer: %v", err)
	}
	got, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status || body != "" && string(got) != body {
		t.Fatalf("answered %d %.80q, %v; want %d %.80q", response.StatusCode, got, err, status, body)
	}
	return response
}

// expectEnd reads that nothing more comes.
func (c *client) expectEnd(t testing.TB) {
	t.Helper()
	rest, err := io.ReadAll(c.from)
	if failed, is := errors.AsType[*net.OpError](err); len(rest) > 0 || err != nil && (!is || failed.Timeout()) {
		t.Errorf("read %.80q, %v; want the end of the connection", rest, err)
	}
}

// ok answers with a short text.
func ok(w http.ResponseWriter, _ *http.Request) { say(200, "ok")(w, nil) }
