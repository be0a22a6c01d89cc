package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/server"
)

// running is a served Server whose public handler notes request targets and returns bodies.
type running struct {
	*server.Server
	secure bool
	log    *slog.Logger // nil: silence

	mu   sync.Mutex
	seen []string
}

// start serves until the test ends.
func start(t *testing.T, c *server.Certificate) *running {
	t.Helper()
	s := &running{secure: c != nil}
	config := server.Config{Public: http.HandlerFunc(s.echo)}
	if s.secure {
		config.TLS = c.TLSConfig()
	}
	s.serve(t, config)
	return s
}

// serve serves a configuration on loopback ports.
func (s *running) serve(t *testing.T, config server.Config) {
	t.Helper()
	config.Listen, config.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	if config.Admin == nil {
		config.Admin = http.NotFoundHandler()
	}
	config.MaxBody = max(config.MaxBody, 1<<10)
	if config.MaxConnections == 0 {
		config.MaxConnections = 100
	}
	if config.Registry == nil {
		config.Registry = prometheus.NewRegistry()
	}
	config.DrainTimeout = max(config.DrainTimeout, time.Second)
	if config.Log = s.log; s.log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.Server, err = server.Listen(config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serving ended with %v", err)
		}
	})
}

func (s *running) echo(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, r.RequestURI)
	s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = w.Write(body)
}

// paths are the request targets that were handled.
func (s *running) paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// dial opens a connection that a test cannot hang on.
func (s *running) dial(t *testing.T, protocol string) net.Conn {
	t.Helper()
	conn, err := s.tryDial(protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (s *running) tryDial(protocol string) (conn net.Conn, err error) {
	if dialer := (&net.Dialer{Timeout: patience}); s.secure {
		conn, err = tls.DialWithDialer(dialer, "tcp", s.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
	} else {
		conn, err = dialer.Dial("tcp", s.Addr().String())
	}
	if err == nil {
		conn.SetDeadline(time.Now().Add(patience))
	}
	return conn, err
}

// certificate is a self-signed one for loopback.
func certificate(t *testing.T) *server.Certificate {
	t.Helper()
	dir := t.TempDir()
	writeCertificate(t, dir, "gateway.example")
	c, err := server.LoadCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// breakKey leaves a key that is not the certificate's.
func breakKey(t *testing.T, dir string) {
	t.Helper()
	other := t.TempDir()
	writeCertificate(t, other, "other.example")
	key, err := os.ReadFile(filepath.Join(other, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeCertificate(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
