package e2e_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/pebble"
)

func TestTheGatewayGetsItsOwnCertificate(t *testing.T) {
	t.Parallel()
	listen, plain := harness.FreeAddress(t), harness.FreeAddress(t)
	authority := pebble.Start(t, pebble.Config{TLSPort: portOf(t, listen), HTTPPort: portOf(t, plain)})
	g := harness.Start(t, harness.Options{ // ready only once the certificate is there
		Listen: listen,
		Server: fmt.Sprintf("tls: {acme: {domains: [gateway.test], email: ops@corp.example, directory: %q, ca_file: %q, http_listen: %q}}, ", authority.Directory, authority.CAFile, plain),
	})
	client := &http.Client{
		Transport:     &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{ServerName: "gateway.test", InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	get := func(url, bearer string) (*http.Response, string) {
		t.Helper()
		request, _ := http.NewRequest(http.MethodGet, url, nil)
		if bearer != "" {
			request.Header.Set("Authorization", "Bearer "+bearer)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return answer, string(text)
	}

	token := g.Token("payments")
	answer, _ := get("https://"+listen+"/v1/projects", token)
	if answer.StatusCode != http.StatusOK || answer.ProtoMajor != 2 || answer.TLS.PeerCertificates[0].DNSNames[0] != "gateway.test" {
		t.Errorf("answered %s over %s with a certificate for %v", answer.Status, answer.Proto, answer.TLS.PeerCertificates[0].DNSNames)
	}
	if answer, _ := get("http://"+plain+"/-/tokens?a=b", ""); answer.StatusCode != http.StatusPermanentRedirect || answer.Header.Get("Location") != g.URL+"/-/tokens?a=b" {
		t.Errorf("a person who typed http:// got %s to %s", answer.Status, answer.Header.Get("Location"))
	}
	if answer, text := get("http://"+plain+"/v1/projects", token); answer.StatusCode != http.StatusForbidden || !strings.Contains(text, "revoke the token") {
		t.Errorf("a token sent in the clear was answered %s: %s", answer.Status, text)
	}
	_, metrics := get(g.AdminURL+"/metrics", "")
	for line := range strings.Lines(metrics) {
		if value, found := strings.CutPrefix(line, "gateway_certificate_expires_timestamp_seconds "); found {
			at, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || time.Until(time.Unix(int64(at), 0)) < 24*time.Hour {
				t.Errorf("the metric says that it ends at %s", value)
			}
			return
		}
	}
	t.Error("no metric says when the certificate ends")
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
