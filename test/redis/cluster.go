package redis

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/test/harness"
)

const (
	masters = 3
	// nodeTimeout is how long a node may stay silent. Shorter, a loaded machine would seem to be a dead one.
	nodeTimeout = 1500 * time.Millisecond
	slots       = 16384
)

// Cluster is a Redis Cluster of three masters with a replica each.
type Cluster struct {
	t     testing.TB
	nodes []*Server
}

// StartCluster runs its nodes and waits until each takes the cluster to work.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	ctx := context.Background()
	c := &Cluster{t: t}
	for i := range 2 * masters {
		_, bus, _ := net.SplitHostPort(harness.FreeAddress(t))
		node := Start(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", strconv.FormatInt(nodeTimeout.Milliseconds(), 10),
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0")
		c.nodes = append(c.nodes, node)
		c.check(node.client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		if i < masters {
			c.check(node.client.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err())
		}
		host, port, _ := net.SplitHostPort(node.address)
		c.check(c.nodes[0].client.Do(ctx, "CLUSTER", "MEET", host, port, bus).Err())
	}
	c.awaitEach("the nodes know each other", func(node *Server) bool {
		return strings.Contains(node.client.ClusterInfo(ctx).Val(), "cluster_known_nodes:6")
	})
	for i, replica := range c.nodes[masters:] {
		c.check(replica.client.ClusterReplicate(ctx, c.nodes[i].client.ClusterMyID(ctx).Val()).Err())
	}
	c.awaitEach("the cluster works", func(node *Server) bool {
		return strings.Contains(node.client.ClusterInfo(ctx).Val(), "cluster_state:ok") && len(c.nodes[0].client.ClusterSlots(ctx).Val()) == masters
	})
	for _, replica := range c.nodes[masters:] {
		await(t, "a replica follows", replica.follows)
	}
	return c
}

// URL is what gateway.yaml's state.redis.url takes. It names two of the nodes: a client finds the others.
func (c *Cluster) URL() string {
	return "redis+cluster://" + c.nodes[1].address + "," + c.nodes[2].address
}

// Master is the node that takes writes of a key, which is given as its hash tag, "{tag}"; nil where none does now.
func (c *Cluster) Master(key string) *Server {
	c.t.Helper()
	for _, node := range c.nodes {
		// Only who takes them answers; the others say who does.
		if node.process != nil && node.client.Eval(context.Background(), "return redis.call('DEL', KEYS[1])", []string{key + "none"}).Err() == nil {
			return node
		}
	}
	return nil
}

// handOverWait is how long Redis tries to hand over before it gives up, 5 s (CLUSTER_MF_TIMEOUT), and a little.
const handOverWait = 6 * time.Second

// HandOver makes another node take the writes of a key; the one before stays, as its replica. Redis is asked again where it
// has given up, as it may on a busy machine.
func (c *Cluster) HandOver(key string) {
	c.t.Helper()
	before := c.Master(key)
	var asked time.Time
	await(c.t, "another node takes the writes of "+key, func() bool {
		if time.Since(asked) > handOverWait {
			asked = time.Now()
			c.askReplicas(before)
		}
		master := c.Master(key)
		return master != nil && master != before
	})
}

// askReplicas asks the replicas of a master to take over from it.
func (c *Cluster) askReplicas(master *Server) {
	c.t.Helper()
	for _, node := range c.nodes {
		if replicates := node.client.Info(context.Background(), "replication").Val(); strings.Contains(replicates, "role:slave") &&
			strings.Contains(replicates, "master_port:"+master.port()+"\r") {
			c.check(node.client.ClusterFailover(context.Background()).Err())
		}
	}
}

// FailOver kills the node that takes writes of a key, and waits until another does.
func (c *Cluster) FailOver(key string) {
	c.t.Helper()
	lost := c.Master(key)
	if lost == nil {
		c.t.Fatalf("no node takes writes of %s", key)
	}
	lost.Kill()
	await(c.t, "another node takes the writes of "+key, func() bool { return c.Master(key) != nil })
}

func (c *Cluster) awaitEach(what string, done func(node *Server) bool) {
	c.t.Helper()
	for _, node := range c.nodes {
		await(c.t, what, func() bool { return done(node) })
	}
}

func (c *Cluster) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}
