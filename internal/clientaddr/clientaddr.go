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
	if len(t) == 0 || !t.Contains(address) {
		return address
	}
	lines := r.Header["X-Forwarded-For"]
	if len(lines) == 0 {
		return address // the proxy itself, which asks for its own sake
	}
	hops := strings.Split(strings.Join(lines, ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return address // what a proxy did not write as an address cannot be followed further
		}
		address = hop.Unmap().WithZone("")
		if !t.Contains(address) {
			break
		}
	}
	return address
}

// Contains reports whether address is a trusted proxy's.
func (t Trusted) Contains(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	for _, prefix := range t {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// Network returns what counts as one client: an IPv4 address, or the /64 of an IPv6 address, which is what one customer
// gets.
func Network(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if !address.Is6() {
		return address
	}
	prefix, _ := address.Prefix(64) // no IPv6 address is too short for it
	return prefix.Addr()
}
