package server_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/clientaddr"
	"corp.example/gateway/internal/server"
)

// ask sends a request over an open connection, where it is answered at all.
func ask(conn net.Conn) (status int, err error) {
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	response.Body.Close()
	return response.StatusCode, nil
}

func dialFrom(t *testing.T, s *running, client string) net.Conn {
	t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	conn, err := from.DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func TestAClientThatHoldsHalfOfAllConnectionsGetsNoMore(t *testing.T) {
	var log lockedBuffer
	registry := prometheus.NewRegistry()
	s := &running{log: slog.New(slog.NewTextHandler(&log, nil))}
	s.serve(t, server.Config{Public: http.HandlerFunc(s.echo), MaxConnections: 8, Registry: registry})
	var held []net.Conn
	for range 4 {
		conn := dialFrom(t, s, "127.0.0.1")
		if status, err := ask(conn); status != http.StatusOK {
			t.Fatalf("answered %d, %v", status, err)
		}
		held = append(held, conn)
	}
	for range 3 {
		if status, err := ask(dialFrom(t, s, "127.0.0.1")); err == nil {
			t.Errorf("one connection more was answered %d", status)
		}
	}
	if status, err := ask(dialFrom(t, s, "127.0.0.2")); status != http.StatusOK {
		t.Errorf("another client was answered %d, %v", status, err)
	}
	if got := gathered(t, registry); got["gateway_connections"] != 5 || got["gateway_connections_refused_total"] != 3 {
		t.Errorf("counted %v, want 5 and 3", got)
	}
	if n := strings.Count(log.String(), "further ones are closed"); n != 1 {
		t.Errorf("logged %d times: %s", n, log.String())
	}
	held[0].Close()
	for deadline := time.Now().Add(patience); ; { // the server hears of it when it does
		if status, _ := ask(dialFrom(t, s, "127.0.0.1")); status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a place that was left stays taken")
		}
	}
}

func TestATrustedProxyMayHoldAllConnectionsAndTheNextWaits(t *testing.T) {
	trusted, err := clientaddr.Parse([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	s := &running{}
	s.serve(t, server.Config{Public: http.HandlerFunc(s.echo), MaxConnections: 4, TrustedProxies: trusted})
	var held []net.Conn
	for range 4 {
		conn := dialFrom(t, s, "127.0.0.1")
		if status, err := ask(conn); status != http.StatusOK {
			t.Fatalf("answered %d, %v", status, err)
		}
		held = append(held, conn)
	}
	waiting := dialFrom(t, s, "127.0.0.1")
	waiting.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if status, err := ask(waiting); err == nil {
		t.Errorf("a fifth connection was answered %d", status)
	}
	next := dialFrom(t, s, "127.0.0.1")
	held[0].Close()
	waiting.Close()
	if status, err := ask(next); status != http.StatusOK {
		t.Errorf("what waited was answered %d, %v when a place was free", status, err)
	}
}

func TestAConnectionThatNeverShakesHandsGivesItsPlaceBack(t *testing.T) {
	s := &running{secure: true}
	s.serve(t, server.Config{Public: http.HandlerFunc(s.echo), MaxConnections: 2, TLS: certificate(t).TLSConfig()})
	for range 5 { // one client may have one
		broken := dialFrom(t, s, "127.0.0.1")
		io.WriteString(broken, "no handshake\r\n\r\n")
		io.Copy(io.Discard, broken)
	}
	for deadline := time.Now().Add(patience); ; {
		if conn, err := s.tryDial("http/1.1"); err == nil {
			conn.Close()
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("the places stay taken: %v", err)
		}
	}
}

// gathered are the values of a registry's metrics without labels.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		values[family.GetName()] = family.GetMetric()[0].GetGauge().GetValue() + family.GetMetric()[0].GetCounter().GetValue()
	}
	return values
}
