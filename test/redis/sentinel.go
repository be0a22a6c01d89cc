package redis

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// masterName is what the Sentinels call their master.
const masterName = "main"

// Sentinel is a Redis with two replicas, and three Sentinels that make one of them the master when it is gone.
type Sentinel struct {
	t         testing.TB
	servers   []*Server
	sentinels []*Server
	observers []*redis.SentinelClient // of each of them
}

// downAfter is how long a Redis of a Sentinel may stay silent. Shorter, a loaded machine would seem to be a dead one.
const downAfter = time.Second

// StartSentinel runs all six and waits until they know each other.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	s := &Sentinel{t: t}
	master := Start(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(master.Addr())
	s.servers = []*Server{master}
	for range 2 {
		s.servers = append(s.servers, Start(t, "--repl-diskless-sync-delay", "0", "--replicaof", host+" "+port))
	}
	for range 3 {
		sentinel := startSentinel(t, host, port)
		observer := redis.NewSentinelClient(&redis.Options{Addr: sentinel.address})
		t.Cleanup(func() { _ = observer.Close() })
		s.sentinels, s.observers = append(s.sentinels, sentinel), append(s.observers, observer)
	}
	for _, observer := range s.observers {
		await(t, "a Sentinel knows the others", func() bool {
			known, err := observer.Master(context.Background(), masterName).Result()
			return err == nil && known["num-slaves"] == "2" && known["num-other-sentinels"] == "2" && known["flags"] == "master"
		})
	}
	await(t, "the replicas follow", func() bool {
		return strings.Contains(master.client.Info(context.Background(), "replication").Val(), "connected_slaves:2") &&
			s.servers[1].follows() && s.servers[2].follows()
	})
	return s
}

// startSentinel runs one. Its periods are shorter than those it comes with, so that nobody waits ten seconds for a look around,
// nor thirty after the machine had no time for it.
func startSentinel(t testing.TB, host, port string) *Server {
	t.Helper()
	s := prepare(t, "--sentinel")
	config := filepath.Join(s.dir, "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 2\nsentinel down-after-milliseconds %[1]s %[4]d\nsentinel failover-timeout %[1]s 3000\n",
		masterName, host, port, downAfter.Milliseconds())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.before = []string{config}
	s.run()
	if err := s.client.Do(context.Background(), "SENTINEL", "DEBUG", "INFO-PERIOD", "200", "PUBLISH-PERIOD", "200", "TILT-PERIOD", "1000").Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

// URL is what gateway.yaml's state.redis.url takes.
func (s *Sentinel) URL() string {
	addresses := make([]string, len(s.sentinels))
	for i, sentinel := range s.sentinels {
		addresses[i] = sentinel.address
	}
	return "redis+sentinel://" + strings.Join(addresses, ",") + "/0?master=" + masterName
}

// Master is who the Sentinels say is the master.
func (s *Sentinel) Master() *Server {
	s.t.Helper()
	address, err := s.observers[0].GetMasterAddrByName(context.Background(), masterName).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, server := range s.servers {
		if server.address == net.JoinHostPort(address[0], address[1]) {
			return server
		}
	}
	s.t.Fatalf("the Sentinels speak of a master %s that nobody started", address)
	return nil
}

// FailOver kills the master, and waits until another takes writes.
func (s *Sentinel) FailOver() {
	s.t.Helper()
	lost := s.Master()
	lost.Kill()
	s.t.Cleanup(func() { // the reason, where they do not agree on another
		if log, err := os.ReadFile(filepath.Join(s.sentinels[0].dir, "log")); err == nil && s.t.Failed() {
			s.t.Logf("a Sentinel's log:\n%s", log)
		}
	})
	await(s.t, "another is the master", func() bool {
		master := s.Master()
		return master != lost && master.client.Set(context.Background(), "gateway:test:failover", "", time.Second).Err() == nil
	})
}

// follows reports whether a replica has what its master has.
func (s *Server) follows() bool {
	return strings.Contains(s.client.Info(context.Background(), "replication").Val(), "master_link_status:up")
}

// await waits for what other processes must bring about.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
