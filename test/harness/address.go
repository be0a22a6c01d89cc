package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports from which FreeAddress draws: below those that the kernel gives to clients on every Linux (ip_local_port_range). A
// port of theirs may be some connection's own by the time that a server is started on it.
const (
	firstPort = 10_000
	lastPort  = 32_767
)

// FreeAddress is an address of this machine that nobody listens on.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 100 { // any one is free but by a rare chance
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort+1))
		if listener, err := net.Listen("tcp", address); err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}
