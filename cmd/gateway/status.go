package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/portal"
	"corp.example/gateway/internal/roster"
)

// status is what administrators see of the running service.
func (g *gateway) status(ctx context.Context) portal.Service {
	last, loaded, stats := g.proxy.LastAnswer(), g.reload.last(), g.cache.Stats()
	shown := portal.Service{
		Version: buildVersion(), Started: g.started,
		Upstream: portal.Upstream{URL: g.config.Upstream.URL, Status: last.Status, At: last.At},
		Policy:   portal.PolicyState{Loaded: loaded.inForce, Tried: loaded.tried},
		Cache:    portal.CacheState{Bytes: stats.Bytes, Most: int64(g.config.Cache.Memory), Entries: stats.Entries},

		Credentials: g.credentialStates(), Shadows: []portal.Shadow{}, // an empty list, not null
	}
	if loaded.fault != nil {
		shown.Policy.Fault = loaded.fault.Error()
	}
	if err := g.audit.Healthy(); err != nil {
		shown.AuditFault = err.Error()
	}
	for _, s := range g.proxy.Shadows() {
		shown.Shadows = append(shown.Shadows, portal.Shadow{Rule: s.Rule, Allow: s.Allow, Calls: s.Calls, Last: s.Last})
	}
	shown.Replicas, shown.Redis = g.replicas(ctx)
	return shown
}

func (g *gateway) credentialStates() []portal.Credential {
	states := []portal.Credential{}
	for _, c := range g.credentials.All() {
		state := portal.Credential{Name: c.Name(), Kind: portal.TokenCredential, Owner: c.Owner(), Healthy: c.Healthy(), Fault: c.Fault(), Expires: c.Expires()}
		if c.OAuth() {
			state.Kind = portal.OAuthCredential
		}
		states = append(states, state)
	}
	return states
}

// rosterTime bounds the look at the roster: the page is of most use while Redis is in trouble.
const rosterTime = time.Second

// replicas are all that run, this one among them, and how Redis does, which is nil where there is none.
func (g *gateway) replicas(ctx context.Context) ([]portal.Replica, *portal.Redis) {
	self := g.replica()
	if g.backplane == nil {
		return []portal.Replica{replicaShown(self, self.Name)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, rosterTime)
	defer cancel()
	known, err := roster.Read(ctx, g.backplane.Client())
	redis := &portal.Redis{}
	if err != nil {
		redis.Fault = err.Error()
	}
	if err := g.backplane.Healthy(); err != nil { // says more than a command that fails for it
		redis.Fault = err.Error()
	}
	shown := []portal.Replica{replicaShown(self, self.Name)} // what it knows itself is newer than what it said
	for _, other := range known {
		if other.Name != self.Name {
			shown = append(shown, replicaShown(other, self.Name))
		}
	}
	return shown, redis
}

func replicaShown(r roster.Replica, self string) portal.Replica {
	return portal.Replica{Name: r.Name, Address: r.Address, Version: r.Version, Started: r.Started, Said: r.Said, Faults: r.Faults, This: r.Name == self}
}

// announce keeps this replica on the roster until ctx ends.
func (g *gateway) announce(ctx context.Context) {
	if g.backplane != nil {
		roster.Announce(ctx, g.backplane.Client(), g.replica, g.log)
	}
}

// replica is what this one says of itself. Its name is the machine's, which in a cluster of containers is each one's own,
// with the port, since one machine may run several.
func (g *gateway) replica() roster.Replica {
	host, err := os.Hostname()
	if err != nil {
		host = "unnamed"
	}
	address := g.server.Addr()
	_, port, _ := net.SplitHostPort(address.String())
	said := roster.Replica{Name: net.JoinHostPort(host, port), Address: reachable(address), Version: buildVersion(), Started: g.started, Said: time.Now()}
	for _, check := range g.checks {
		if err := check.Ready(); err != nil {
			said.Faults = append(said.Faults, fmt.Sprintf("%s: %v", check.Name, err))
		}
	}
	return said
}

// reachable is where a listener is found from elsewhere: one that takes any of the machine's addresses has its first.
func reachable(listener net.Addr) string {
	tcp, isTCP := listener.(*net.TCPAddr)
	if !isTCP || !tcp.IP.IsUnspecified() {
		return listener.String()
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return listener.String()
	}
	i := slices.IndexFunc(own, func(a net.Addr) bool {
		network, isIP := a.(*net.IPNet)
		return isIP && network.IP.IsGlobalUnicast()
	})
	if i < 0 {
		return listener.String()
	}
	return (&net.TCPAddr{IP: own[i].(*net.IPNet).IP, Port: tcp.Port}).String()
}

// purge forgets cached answers for an administrator.
func (g *gateway) purge(project, operation string) int {
	var scopes []string
	if project != "" {
		scopes = append(scopes, "project:"+project)
	}
	if operation != "" {
		scopes = append(scopes, cache.OperationScope(operation))
	}
	return g.cache.Purge(scopes...)
}
