package acme_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/acme"
	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/secret"
	"corp.example/gateway/test/pebble"
	"corp.example/gateway/test/redis"
)

// domain is a name of the test's own: certmagic keeps what it is challenged for by name, for the whole process.
func domain(t *testing.T) string { return strings.ToLower(t.Name()) + ".test" }

// patience is for the ACME server, which makes its clients wait for seconds.
const patience = 60 * time.Second

// replica is a manager and the TLS listener it has the certificate for.
type replica struct {
	*acme.Manager
	listener net.Listener
}

func listen(t *testing.T) (net.Listener, int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener, listener.Addr().(*net.TCPAddr).Port
}

func start(t *testing.T, listener net.Listener, config acme.Config) *replica {
	t.Helper()
	config.Domains, config.Email, config.Log = []string{domain(t)}, "ops@corp.example", slog.New(slog.NewTextHandler(t.Output(), nil))
	config.TLSPort = listener.Addr().(*net.TCPAddr).Port
	manager, err := acme.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(manager.Close)
	server := &http.Server{TLSConfig: manager.TLSConfig(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { server.Close() })
	if err := manager.Ready(); err == nil {
		t.Error("ready before there is a certificate")
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	if err := manager.Manage(ctx); err != nil {
		t.Fatal(err)
	}
	return &replica{manager, listener}
}

// serial is the serial number of the certificate a client is shown, once there is one.
func (r *replica) serial(t *testing.T, name string, different ...*big.Int) *big.Int {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) { // another process issues it
		conn, err := tls.Dial("tcp", r.listener.Addr().String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err == nil {
			serial := conn.ConnectionState().PeerCertificates[0].SerialNumber
			conn.Close()
			if !slices.ContainsFunc(different, func(o *big.Int) bool { return o.Cmp(serial) == 0 }) {
				return serial
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no certificate after %s: %v (%v)", patience, err, r.Ready())
		}
	}
}

func TestACertificateIsIssuedOverTLSALPN(t *testing.T) {
	t.Parallel()
	listener, port := listen(t)
	authority := pebble.Start(t, pebble.Config{TLSPort: port})
	dir := t.TempDir()
	r := start(t, listener, acme.Config{Directory: authority.Directory, CAFile: authority.CAFile, Storage: acme.Files(dir)})
	first := r.serial(t, domain(t))
	if err := r.Ready(); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if days := time.Until(r.Expires()) / (24 * time.Hour); days < 80 {
		t.Errorf("it ends in %d days", days)
	}
	if got := r.serial(t, ""); got.Cmp(first) != 0 {
		t.Error("a client that sends no name is shown another certificate")
	}

	again, _ := listen(t)
	restarted := start(t, again, acme.Config{Directory: authority.Directory, CAFile: authority.CAFile, Storage: acme.Files(dir)})
	if got := restarted.serial(t, domain(t)); got.Cmp(first) != 0 {
		t.Error("a restart asks for another certificate")
	}
}

func TestACertificateIsIssuedOverHTTPAndOtherRequestsPass(t *testing.T) {
	t.Parallel()
	listener, _ := listen(t)
	plain, plainPort := listen(t)
	_, nobody := listen(t) // where TLS-ALPN-01 would be looked for
	authority := pebble.Start(t, pebble.Config{TLSPort: nobody, HTTPPort: plainPort})
	r := start(t, listener, acme.Config{Directory: authority.Directory, CAFile: authority.CAFile, HTTPPort: plainPort, Storage: acme.Files(t.TempDir())})
	go func() {
		_ = http.Serve(plain, r.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })))
	}()
	r.serial(t, domain(t))
	answer, err := http.Get("http://" + plain.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusTeapot {
		t.Errorf("another request was answered %d", answer.StatusCode)
	}
}

func TestACertificateIsRenewedBeforeItEnds(t *testing.T) {
	t.Parallel()
	listener, port := listen(t)
	authority := pebble.Start(t, pebble.Config{TLSPort: port, Validity: 15 * time.Second})
	r := start(t, listener, acme.Config{Directory: authority.Directory, CAFile: authority.CAFile, Storage: acme.Files(t.TempDir()), RenewCheck: time.Second})
	first := r.serial(t, domain(t))
	r.serial(t, domain(t), first)
}

func TestTwoReplicasIssueOnceAndBothServe(t *testing.T) {
	t.Parallel()
	shared := redis.Start(t)
	keys := sealKeys(t, "0a")
	one, port := listen(t)
	two, _ := listen(t)
	// The authority reaches the first replica alone, as through a load balancer: it answers also what the other asked for.
	authority := pebble.Start(t, pebble.Config{TLSPort: port})
	place := func() acme.Config {
		return acme.Config{Directory: authority.Directory, CAFile: authority.CAFile, Storage: acme.NewRedis(shared.Client(), keys)}
	}
	a, b := start(t, one, place()), start(t, two, place())
	if first, second := a.serial(t, domain(t)), b.serial(t, domain(t)); first.Cmp(second) != 0 {
		t.Errorf("the replicas serve %s and %s", first, second)
	}
	for key, value := range shared.Client().HGetAll(t.Context(), "gateway:{acme}").Val() {
		if strings.Contains(value, "PRIVATE KEY") || strings.Contains(value, "CERTIFICATE") {
			t.Errorf("%s is in Redis unsealed", key)
		}
	}
}

func sealKeys(t *testing.T, digits string) *seal.Keys {
	t.Helper()
	keys, err := seal.Load(secret.Source{Env: "KEY"}, func(string) string { return strings.Repeat(digits, 32) })
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestRedisIsAStorage(t *testing.T) {
	t.Parallel()
	client := redis.Start(t).Client()
	s := acme.NewRedis(client, sealKeys(t, "0a"))
	ctx := t.Context()
	for _, key := range []string{"certificates/ca/a.test/a.test.crt", "certificates/ca/a.test/a.test.key", "certificates/ca/b.test/b.test.crt", "acme/account.json"} {
		if err := s.Store(ctx, key, []byte("of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	if value, err := s.Load(ctx, "acme/account.json"); err != nil || string(value) != "of acme/account.json" {
		t.Errorf("loaded %q, %v", value, err)
	}
	if _, err := s.Load(ctx, "acme"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder was loaded: %v", err)
	}
	if !s.Exists(ctx, "acme") || !s.Exists(ctx, "acme/account.json") || s.Exists(ctx, "acm") {
		t.Error("Exists knows files and folders, and nothing else")
	}
	sorted := func(keys []string, err error) string {
		if err != nil {
			t.Error(err)
		}
		slices.Sort(keys)
		return strings.Join(keys, " ")
	}
	if got := sorted(s.List(ctx, "certificates/ca", false)); got != "certificates/ca/a.test certificates/ca/b.test" {
		t.Errorf("listed %s", got)
	}
	if got := sorted(s.List(ctx, "certificates/ca/a.test", true)); got != "certificates/ca/a.test/a.test.crt certificates/ca/a.test/a.test.key" {
		t.Errorf("listed %s", got)
	}
	if info, err := s.Stat(ctx, "acme/account.json"); err != nil || !info.IsTerminal || info.Size != 20 || time.Since(info.Modified) > time.Minute {
		t.Errorf("stat of a file: %+v, %v", info, err)
	}
	if info, err := s.Stat(ctx, "certificates"); err != nil || info.IsTerminal {
		t.Errorf("stat of a folder: %+v, %v", info, err)
	}
	if err := s.Delete(ctx, "certificates/ca/a.test"); err != nil || s.Exists(ctx, "certificates/ca/a.test/a.test.key") || !s.Exists(ctx, "certificates/ca/b.test") {
		t.Errorf("deleting a folder: %v", err)
	}
	if _, err := acme.NewRedis(client, sealKeys(t, "0b")).Load(ctx, "acme/account.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened with another seal key: %v", err)
	}
}

func TestALockHasOneHolderAndDiesWithIt(t *testing.T) {
	t.Parallel()
	shared := redis.Start(t)
	a, b := acme.NewRedis(shared.Client(), sealKeys(t, "0a")), acme.NewRedis(shared.Client(), sealKeys(t, "0a"))
	ctx := t.Context()
	if err := a.Lock(ctx, "issue"); err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := b.Lock(waiting, "issue"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock: %v", err)
	}
	if err := b.Unlock(ctx, "issue"); err == nil {
		t.Error("somebody else's lock was released")
	}
	if ttl := shared.Client().PTTL(ctx, "gateway:{acme}:lock:issue").Val(); ttl <= 0 || ttl > time.Minute {
		t.Errorf("the lock of a holder that dies ends after %s", ttl)
	}
	taken := make(chan error, 1)
	go func() { taken <- b.Lock(ctx, "issue") }()
	if err := a.Unlock(ctx, "issue"); err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Errorf("after the release: %v", err)
	}
}
