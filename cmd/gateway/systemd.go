package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// tell tells systemd how the service is. Where nobody asked to be told, it does nothing.
func (g *gateway) tell(states ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(states, "\n")); err != nil {
		g.log.Warn("telling systemd", "state", states[0], "error", err)
	}
}

// reloadPolicy reads the policy again and has systemd know when that is over, and how it ended.
func (g *gateway) reloadPolicy() {
	g.tell(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
	g.reload.policy()
	status := "STATUS=the policy in its file is in force"
	if g.reload.healthy() != nil {
		status = "STATUS=the policy in its file has faults; the one before stays in force"
	}
	g.tell(daemon.SdNotifyReady, status)
}

// watchdog tells systemd that the gateway lives, as often as it wants to hear it, until ctx ends.
func (g *gateway) watchdog(ctx context.Context) {
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		g.log.Warn("systemd's watchdog", "error", err)
	}
	if patience > 0 {
		g.sayAlive(ctx, patience/2, "http://"+g.server.AdminAddr().String()+"/healthz")
	}
}

// sayAlive asks a URL again and again, and tells systemd each time that it is answered.
func (g *gateway) sayAlive(ctx context.Context, every time.Duration, url string) {
	repeat(ctx, every, func() {
		if err := health(ctx, url, io.Discard); err != nil {
			g.log.Error("the gateway does not answer itself: systemd will start it anew unless that passes", "error", err)
			return
		}
		g.tell(daemon.SdNotifyWatchdog)
	})
}

// repeat calls f at once and then again and again until ctx ends.
func repeat(ctx context.Context, every time.Duration, f func()) {
	for ticks := time.Tick(every); ; {
		f()
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
	}
}

// The names of the sockets that systemd may hold for the gateway: their FileDescriptorName.
const (
	publicSocket = "public" // server.listen
	plainSocket  = "http"   // server.tls.acme.http_listen
)

// sockets are the listeners that systemd holds for the gateway, by name. One that is not known, or has another port than
// the configuration says, is a fault: else nobody would notice that requests come in elsewhere.
func (g *gateway) sockets() (map[string]net.Listener, error) {
	wanted := map[string]string{publicSocket: g.config.Server.Listen}
	if plain := g.challenges().Listen; plain != "" {
		wanted[plainSocket] = plain
	}
	given := map[string]net.Listener{}
	for _, file := range activation.Files(true) {
		name := file.Name()
		listener, err := net.FileListener(file)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("systemd's socket %s: %w", name, err)
		}
		address, known := wanted[name]
		switch {
		case !known:
			return nil, fmt.Errorf("systemd holds a socket %q: its FileDescriptorName has to be %q for server.listen, or %q for server.tls.acme.http_listen where that is set", name, publicSocket, plainSocket)
		case given[name] != nil:
			return nil, fmt.Errorf("systemd holds several sockets %q: one is taken", name)
		case port(address) != port(listener.Addr().String()):
			return nil, fmt.Errorf("systemd's socket %s is %s and the configuration says %s: give both the same port", name, listener.Addr(), address)
		}
		given[name] = listener
	}
	return given, nil
}
