package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports from which FreeAddress takes: below those that the kernel gives to clients on every Linux (ip_local_port_range). A
// port of theirs may be some connection's own by the time that a server is started on it.
const (
	firstPort  = 10_000
	lastPort   = 32_767
	blockPorts = 256
)

// ports are this process's own: a server that a test has ended, to start it again, must find its port as it left it, though
// other tests run in this process and beside it.
var ports struct {
	mu        sync.Mutex
	claims    []net.Listener // on the first port of each block that is ours, until the process ends
	next, end int            // what is left of the last block
}

// FreeAddress is an address of this machine that nobody listens on, and that no other test is given.
func FreeAddress(t testing.TB) string {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for {
		if ports.next == ports.end && !claimPorts() {
			t.Fatal("no port is free")
		}
		listener, err := listenOn(ports.next)
		ports.next++
		if err == nil {
			listener.Close()
			return listener.Addr().String()
		}
	}
}

// claimPorts takes a block of ports that no other process has; ports.mu is held.
func claimPorts() bool {
	const blocks = (lastPort - firstPort + 1) / blockPorts
	start := rand.IntN(blocks)
	for i := range blocks {
		first := firstPort + (start+i)%blocks*blockPorts
		if claim, err := listenOn(first); err == nil {
			ports.claims = append(ports.claims, claim)
			ports.next, ports.end = first+1, first+blockPorts
			return true
		}
	}
	return false
}

func listenOn(port int) (net.Listener, error) {
	return net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
}
