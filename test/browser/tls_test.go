package browser_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"corp.example/gateway/test/harness"
)

// certificate is one for this machine that signs itself, its key, and the name by which a browser can be told to trust it.
func certificate(t *testing.T) (cert, key, pin string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(public)
	block := func(kind string, raw []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", encoded), base64.StdEncoding.EncodeToString(sum[:])
}

// TestHostCookieOverTLS signs in over TLS, where the session's cookie has the prefix that keeps neighbours from planting one
// (RFC 6265bis section 4.1.3), and tries to plant one.
func TestHostCookieOverTLS(t *testing.T) {
	needBrowser(t)
	cert, key, pin := certificate(t)
	s := &stage{browser: newBrowser(t, chromedp.Flag("ignore-certificate-errors-spki-list", pin)), tabs: map[string]*tab{}}
	s.Gateway = harness.Start(t, harness.Options{
		Scheme: "https", Server: "tls: {cert_file: tls.crt, key_file: tls.key}, ", Files: map[string]string{"tls.crt": cert, "tls.key": key},
		Issuer: func(gateway string) string { s.provider = newProvider(t, gateway); return s.provider.issuer },
	})
	b := s.stranger(t)
	b.signIn("ada")
	b.wants("Hello, Ada Lovelace")
	cookie := b.cookie()
	if cookie == nil || cookie.Name != "__Host-gateway_session" || !cookie.Secure || !cookie.HTTPOnly || cookie.Path != "/" ||
		cookie.Domain != "127.0.0.1" || cookie.SameSite != network.CookieSameSiteLax {
		t.Fatalf("the session's cookie is %+v, want __Host-gateway_session: Secure, HttpOnly, for this host alone", cookie)
	}

	// Neither a cookie of the plain name nor one for another path counts; the browser itself refuses the latter.
	stranger := s.stranger(t)
	plant := network.SetCookieParams{Name: "gateway_session", Value: cookie.Value, URL: s.URL + "/", Secure: new(true)}
	if _, err := chromedp.Call(stranger.ctx, network.SetCookie, plant); err != nil {
		t.Fatal(err)
	}
	plant.Name, plant.Path = cookie.Name, "/-/tokens"
	_, _ = chromedp.Call(stranger.ctx, network.SetCookie, plant)
	if status := stranger.open("/-/tokens"); status != 401 {
		t.Errorf("with planted cookies: status %d, want 401", status)
	}
}
