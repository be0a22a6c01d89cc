// Package clientaddr tells which address a request really comes from.
//
// Invariant: X-Forwarded-For is believed only as far as trusted proxies wrote it, so a client can never choose the
// address it is limited and audited by.
package clientaddr

import (
	"net/http"
	"net/netip"
	"strings"
)

// Trusted are the networks of proxies whose X-Forwarded-For is believed. The zero value believes none.
type Trusted []netip.Prefix

// Parse reads networks in CIDR form.
func Parse(networks []string) (Trusted, error) {
	trusted := make(Trusted, 0, len(networks))
	for _, text := range networks {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		trusted = append(trusted, prefix.Masked())
	}
	return trusted, nil
}

// Of returns the client's address: the nearest one, walking from the connection back through X-Forwarded-For, that is no
// trusted proxy. The zero Addr stands for a connection without one, such as a Unix socket.
func (t Trusted) Of(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := peer.Addr().Unmap().WithZone("")
	if len(t) == 0 || !t.contains(address) {
		return address
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return address // what a proxy did not write as an address cannot be followed further
		}
		address = hop.Unmap().WithZone("")
		if !t.contains(address) {
			break
		}
	}
	return address
}

func (t Trusted) contains(address netip.Addr) bool {
	for _, prefix := range t {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}
