package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"corp.example/gateway/bench/rig"
)

// field is everything that runs while the contenders take turns.
type field struct {
	contenders []*contender
	neighbours *rig.Neighbours
	upstream   *rig.PolledUpstream // of the servers that forward
	servers    []*rig.Process
}

// newField starts all servers. Whether or not it fails, the field has to be closed.
func newField(dir string, programs programs) (*field, error) {
	f := &field{}
	narrowed := len(rig.Projects(rig.Numbers(1000, 2)...))
	bodies := map[string][]byte{
		small: rig.Functions(2 << 10), large: rig.Functions(64 << 10), asLarge: rig.Functions(narrowed),
		projects: rig.Projects(rig.Numbers(1000, 1)...), forwarded: rig.Functions(2 << 10),
	}
	var err error
	if f.neighbours, err = rig.NewNeighbours(bodies, forwarded); err != nil {
		return f, err
	}
	if f.upstream, err = rig.NewPolledUpstream(bodies[forwarded]); err != nil {
		return f, err
	}
	gateway, err := f.gateway(programs, filepath.Join(dir, "single"), rig.Options{})
	if err != nil {
		return f, err
	}
	token, err := gateway.Token(rig.Team)
	if err != nil {
		return f, err
	}
	wide, err := gateway.Token(rig.Wide)
	if err != nil {
		return f, err
	}
	f.add("gateway: cached, minted token", gateway, rig.Request(small, token))
	f.add("gateway: cached, JWT", gateway, rig.Request(small, f.neighbours.JWT()))
	f.add("gateway: cached, 64 KB", gateway, rig.Request(large, token))
	f.add("gateway: cached, 64 KB gzip", gateway, rig.Request(large, token, "Accept-Encoding: gzip"))
	f.add("gateway: narrowed list", gateway, rig.Request(projects, wide))
	f.add("gateway: cached, same size", gateway, rig.Request(asLarge, token))
	if err := f.startForwarding(programs, filepath.Join(dir, "forwarding"), "gateway: forwarded", rig.Options{}); err != nil {
		return f, err
	}
	zipped, err := packed(gateway.Address, large, token)
	if err != nil {
		return f, err
	}
	if err := f.startBare(programs, dir, bodies, zipped, token); err != nil {
		return f, err
	}
	if err := f.startShared(programs, dir); err != nil {
		return f, err
	}
	return f, f.startPeers(programs, dir, token)
}

func (f *field) gateway(programs programs, dir string, o rig.Options) (*rig.Gateway, error) {
	g, err := f.neighbours.Gateway(programs.gateway, dir, o)
	if g != nil && g.Process != nil {
		f.servers = append(f.servers, g.Process)
	}
	return g, err
}

func (f *field) add(name string, g *rig.Gateway, request []byte) {
	c := &contender{name: name, server: g.Process, address: g.Address, admin: g.Admin, request: request}
	if !strings.Contains(name, "forwarded") {
		c.asked = &f.neighbours.Asked
	}
	f.contenders = append(f.contenders, c)
}

// startBare starts what Go allows: net/http from memory, and httputil.ReverseProxy. Both are sent what the gateway is sent.
func (f *field) startBare(programs programs, dir string, bodies map[string][]byte, zipped []byte, token string) error {
	answers := filepath.Join(dir, "answers")
	if err := os.MkdirAll(answers, 0o700); err != nil {
		return err
	}
	for name, body := range map[string][]byte{"small": bodies[small], "large": bodies[large], "large.gz": zipped} {
		if err := os.WriteFile(filepath.Join(answers, name), body, 0o600); err != nil {
			return err
		}
	}
	handler, address, err := f.peer(programs, "handler", answers)
	if err != nil {
		return err
	}
	proxy, proxyAddress, err := f.peer(programs, "proxy", f.upstream.URL)
	if err != nil {
		return err
	}
	f.contenders = append(f.contenders,
		&contender{name: "net/http handler", server: handler, address: address, request: rig.Request("/small", token)},
		&contender{name: "net/http handler, JWT", server: handler, address: address, request: rig.Request("/small", f.neighbours.JWT())},
		&contender{name: "net/http handler, 64 KB", server: handler, address: address, request: rig.Request("/large", token)},
		&contender{name: "net/http handler, 64 KB gzip", server: handler, address: address, request: rig.Request("/large.gz", token, "Accept-Encoding: gzip")},
		&contender{name: "ReverseProxy", server: proxy, address: proxyAddress, request: rig.Request(forwarded, token)},
	)
	return nil
}

func (f *field) peer(programs programs, kind, what string) (*rig.Process, string, error) {
	address, err := rig.FreeAddress()
	if err != nil {
		return nil, "", err
	}
	p, err := rig.Start(programs.self, peerCommand, kind, address, what)
	if err != nil {
		return nil, "", err
	}
	f.servers = append(f.servers, p)
	return p, address, p.AwaitListening(address)
}

// startShared starts a gateway whose limiter, cache, tokens and sessions are in Redis. Redis runs on the load's core, and
// its time is not counted: the bar is about what the gateway spends.
func (f *field) startShared(programs programs, dir string) error {
	redis, err := rig.StartRedis(filepath.Join(dir, "redis"))
	if err != nil {
		return err
	}
	f.servers = append(f.servers, redis.Process)
	return f.startForwarding(programs, filepath.Join(dir, "shared"), "gateway: forwarded, Redis", rig.Options{Redis: redis.URL})
}

// startForwarding starts a gateway that has to ask for everything.
func (f *field) startForwarding(programs programs, dir, name string, o rig.Options) error {
	o.Upstream = f.upstream.URL
	gateway, err := f.gateway(programs, dir, o)
	if err != nil {
		return err
	}
	token, err := gateway.Token(rig.Team)
	if err != nil {
		return err
	}
	f.add(name, gateway, rig.Request(forwarded, token))
	return nil
}

// startPeers starts the others' servers.
func (f *field) startPeers(programs programs, dir, token string) error {
	upstream := strings.TrimPrefix(f.upstream.URL, "http://")
	nginx, address, err := startNginx(programs.nginx, dir, upstream, token)
	if nginx != nil {
		f.servers = append(f.servers, nginx)
	}
	if err != nil {
		return err
	}
	caddy, caddyAddress, err := startCaddy(programs.caddy, dir, upstream, token)
	if caddy != nil {
		f.servers = append(f.servers, caddy)
	}
	if err != nil {
		return err
	}
	f.contenders = append(f.contenders,
		&contender{name: "nginx: cache, token, log", server: nginx, address: address, request: rig.Request(small, token)},
		&contender{name: "nginx: proxy, token, log", server: nginx, address: address, request: rig.Request(forwarded, token)},
		&contender{name: "Caddy: proxy, token, log", server: caddy, address: caddyAddress, request: rig.Request(forwarded, token)},
	)
	return nil
}

func (f *field) named(name string) *contender {
	for _, c := range f.contenders {
		if c.name == name {
			return c
		}
	}
	panic(fmt.Sprintf("a comparison names %q, which nobody is", name))
}

func (f *field) close() {
	for _, server := range f.servers {
		server.Stop()
	}
	if f.upstream != nil {
		f.upstream.Close()
	}
	if f.neighbours != nil {
		f.neighbours.Close()
	}
}
