// Package pebble runs a real ACME server for a test, with a name server for which every name is this machine.
package pebble

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"corp.example/gateway/test/harness"
)

// Config says where pebble connects to when it validates a name, on this machine.
type Config struct {
	TLSPort  int           // for TLS-ALPN-01
	HTTPPort int           // for HTTP-01
	Validity time.Duration // of the certificates; 0: 90 days
}

// Server is a running pebble.
type Server struct {
	Directory string // its URL
	CAFile    string // the authorities of the server itself
}

// Start runs a pebble until the test ends.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	harness.Need(t, []string{"go"}, nil)
	path, err := exec.Command("go", "tool", "-modfile="+filepath.Join(root(t), "test/tools/pebble.mod"), "-n", "pebble").Output()
	if err != nil {
		t.Fatalf("building pebble: %v", err)
	}
	dir := t.TempDir()
	s := &Server{CAFile: filepath.Join(dir, "cert.pem")}
	writeCertificate(t, s.CAFile, filepath.Join(dir, "key.pem"))
	listen, management := harness.FreeAddress(t), harness.FreeAddress(t)
	s.Directory = "https://" + listen + "/dir"
	if c.Validity == 0 {
		c.Validity = 90 * 24 * time.Hour
	}
	config, _ := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management,
		"certificate": s.CAFile, "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": c.HTTPPort, "tlsPort": c.TLSPort,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "of the test", "validityPeriod": int(c.Validity.Seconds())}},
	}})
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	process := exec.Command(strings.TrimSpace(string(path)), "-config", file, "-dnsserver", startNames(t))
	process.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	process.Stdout, process.Stderr = log, log
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait() // says that it was killed
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("pebble's log:\n%s", text)
		}
	})
	s.wait(t)
	return s
}

func (s *Server) wait(t testing.TB) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // a port of this machine
	defer client.CloseIdleConnections()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		answer, err := client.Get(s.Directory)
		if err == nil {
			answer.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("pebble did not answer: %v", err)
		}
	}
}

// startNames serves names over TCP, which pebble asks by, and returns the address.
func startNames(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		if name := question.Question[0]; name.Qtype == dns.TypeA {
			record, _ := dns.NewRR(fmt.Sprintf("%s 60 IN A 127.0.0.1", name.Name))
			answer.Answer = append(answer.Answer, record)
		}
		_ = w.WriteMsg(answer)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return listener.Addr().String()
}

func writeCertificate(t testing.TB, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: certificate}, keyFile: {Type: "PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// root is the repository's folder.
func root(t testing.TB) string {
	t.Helper()
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(output))
}
