package clientaddr_test

import (
	"net/http"
	"net/netip"
	"testing"

	"corp.example/gateway/internal/clientaddr"
)

func TestOf(t *testing.T) {
	trusted, err := clientaddr.Parse([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		trusted   clientaddr.Trusted
		peer      string
		forwarded []string
		want      string
	}{
		"no proxy, header ignored":              {nil, "192.0.2.1:80", []string{"198.51.100.9"}, "192.0.2.1"},
		"a stranger's header is ignored":        {trusted, "192.0.2.1:80", []string{"10.1.1.1"}, "192.0.2.1"},
		"a trusted proxy's client":              {trusted, "10.0.0.1:80", []string{"192.0.2.7"}, "192.0.2.7"},
		"what the client wrote itself is not":   {trusted, "10.0.0.1:80", []string{"1.2.3.4, 192.0.2.7"}, "192.0.2.7"},
		"two trusted proxies":                   {trusted, "10.0.0.1:80", []string{"1.2.3.4, 192.0.2.7, 10.0.0.2"}, "192.0.2.7"},
		"two header lines":                      {trusted, "10.0.0.1:80", []string{"1.2.3.4", "192.0.2.7"}, "192.0.2.7"},
		"an unreadable hop ends the walk":       {trusted, "10.0.0.1:80", []string{"192.0.2.7, nonsense"}, "10.0.0.1"},
		"no header from the proxy":              {trusted, "10.0.0.1:80", nil, "10.0.0.1"},
		"IPv6":                                  {trusted, "[fd00::1]:80", []string{"2001:db8::7"}, "2001:db8::7"},
		"an IPv4 address mapped into IPv6":      {trusted, "[::ffff:10.0.0.1]:80", []string{"192.0.2.7"}, "192.0.2.7"},
		"a zone cannot make two of one address": {trusted, "10.0.0.1:80", []string{"fe80::1%a"}, "fe80::1"},
		"nor can the connection's own":          {nil, "[fe80::1%eth0]:80", nil, "fe80::1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: test.peer, Header: http.Header{"X-Forwarded-For": test.forwarded}}
			if got := test.trusted.Of(r); got.String() != test.want {
				t.Errorf("Of(%s, %q) = %v, want %s", test.peer, test.forwarded, got, test.want)
			}
		})
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":               "192.0.2.7",
		"::ffff:192.0.2.7":        "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":    "2001:db8:1:2::",
		"2001:db8:1:2:ffff:4:5:6": "2001:db8:1:2::",
		"2001:db8:1:3:3:4:5:6":    "2001:db8:1:3::",
		"fe80::1%eth0":            "fe80::",
	} {
		if got := clientaddr.Network(netip.MustParseAddr(address)); got.String() != want {
			t.Errorf("Network(%s) = %v, want %s", address, got, want)
		}
	}
}
