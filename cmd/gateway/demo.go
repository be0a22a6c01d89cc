package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"corp.example/gateway/configs"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/portal"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/internal/sandbox/idp"
)

func demoCommand(getenv func(string) string) *cobra.Command {
	command := &cobra.Command{
		Use:   "demo",
		Short: "Run everything on this machine: stand-in upstream, identity provider and gateway",
		Long: `Runs a stand-in for the Supabase Management API, an identity provider with demo people and the
gateway between them, on loopback and without asking for anything. It prints where they are, a
token that works and lines to paste. Nothing it does leaves this machine; Ctrl-C ends it and
removes what it wrote.`,
		Args: noArgs,
	}
	listen := command.Flags().String("listen", "127.0.0.1:8080", "the gateway's address; where it is busy, a free port is taken")
	command.RunE = func(command *cobra.Command, _ []string) error {
		return runDemo(command.Context(), *listen, getenv, command.OutOrStdout(), command.ErrOrStderr())
	}
	return command
}

// demo is the places and secrets of one run. Its fields fill configs/demo/gateway.yaml.
type demo struct {
	Listen, PublicURL, AdminListen, UpstreamURL, IssuerURL string

	dir                         string
	upstreamToken, clientSecret string
	upstream, issuer            net.Listener
}

// The demo's people. Their groups are what configs/demo/policy.yaml speaks of.
var demoPeople = []idp.Person{
	{Subject: "ada", Name: "Ada Lovelace", Email: "ada@acme.example", EmailVerified: true, Groups: []string{"payments-eng"}},
	{Subject: "grace", Name: "Grace Hopper", Email: "grace@acme.example", EmailVerified: true, Groups: []string{"platform-eng"}},
	{Subject: "linus", Name: "Linus Pauling", Email: "linus@acme.example", EmailVerified: true, Groups: []string{"research"}},
}

func runDemo(ctx context.Context, listen string, getenv func(string) string, stdout, stderr io.Writer) error {
	d := &demo{upstreamToken: "sbp_" + randomHex(20), clientSecret: randomHex(16)}
	defer func() { os.RemoveAll(d.dir) }() // also where place fails half-way
	if err := d.place(listen, stderr); err != nil {
		return err
	}
	if err := d.writeFiles(); err != nil {
		return err
	}
	people, stopNeighbours, err := d.startNeighbours()
	if err != nil {
		return err
	}
	defer stopNeighbours()
	loaded, err := config.Load(filepath.Join(d.dir, "gateway.yaml"), getenv)
	if err != nil {
		return err
	}
	g, err := build(loaded, getenv, stderr)
	if err != nil {
		return err
	}
	token, err := readyToken(ctx, g, people)
	if err != nil {
		return errors.Join(err, g.close())
	}
	if err := d.welcome(stdout, token); err != nil {
		return errors.Join(err, g.close())
	}
	return g.run(ctx)
}

// readyToken mints a token for Ada, whom the identity provider vouches for as it would after a sign-in.
func readyToken(ctx context.Context, g *gateway, people *idp.Provider) (string, error) {
	bearer := "Bearer " + people.Token(demoPeople[0].Subject, "supabase-gateway")
	ada, err := g.identity.Authenticate(ctx, []string{bearer}, netip.Addr{})
	if err != nil {
		return "", err
	}
	token, _, err := g.identity.Mint(ctx, identity.MintRequest{Owner: ada, Name: "demo"})
	return token, err
}

// place finds a folder and addresses. The neighbours' listeners are bound at once; the gateway binds its own.
func (d *demo) place(listen string, stderr io.Writer) (err error) {
	if d.dir, err = os.MkdirTemp("", "gateway-demo-"); err != nil {
		return err
	}
	if d.upstream, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if d.issuer, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if d.Listen, err = freeAddress(listen); err != nil {
		fmt.Fprintf(stderr, "%s is busy; taking a free port\n", listen)
		if d.Listen, err = freeAddress("127.0.0.1:0"); err != nil {
			return err
		}
	}
	if d.AdminListen, err = freeAddress("127.0.0.1:0"); err != nil {
		return err
	}
	d.PublicURL, d.UpstreamURL, d.IssuerURL = "http://"+d.Listen, "http://"+d.upstream.Addr().String(), "http://"+d.issuer.Addr().String()
	return nil
}

func freeAddress(address string) (string, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func (d *demo) writeFiles() error {
	var gateway strings.Builder
	if err := template.Must(template.New("gateway.yaml").Parse(configs.DemoGateway)).Execute(&gateway, d); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"gateway.yaml":   gateway.String(),
		"policy.yaml":    string(configs.DemoPolicy),
		"upstream-token": d.upstreamToken,
		"client-secret":  d.clientSecret,
		"profile.yaml":   portal.CLIProfile(d.PublicURL),
	} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// startNeighbours serves the stand-in upstream and the identity provider until the returned function is called.
func (d *demo) startNeighbours() (people *idp.Provider, stop func(), err error) {
	upstream, err := sandbox.New(sandbox.Config{Tokens: map[string]string{d.upstreamToken: "platform-bot"}})
	if err != nil {
		return nil, nil, err
	}
	issuer, err := idp.New(idp.Config{Issuer: d.IssuerURL, People: demoPeople, Clients: []idp.Client{{
		ID: "supabase-gateway", Secret: d.clientSecret, RedirectURIs: []string{d.PublicURL + "/-/callback", d.PublicURL + "/-/"},
	}}})
	if err != nil {
		return nil, nil, err
	}
	servers := []*http.Server{{Handler: upstream, ReadHeaderTimeout: 10 * time.Second}, {Handler: issuer, ReadHeaderTimeout: 10 * time.Second}}
	go servers[0].Serve(d.upstream)
	go servers[1].Serve(d.issuer)
	return issuer, func() {
		for _, s := range servers {
			s.Close()
		}
	}, nil
}

const welcomeText = `
The gateway is running on this machine. Ctrl-C ends it.

  Portal             {{.URL}}/-/
  Demo people        Ada, an engineer who sees two projects of eight; Grace, who runs the platform;
                     Linus, who is in no team. The portal's sign-in lets you be any of them.
  A token of Ada's   {{.Token}}
  Stand-in upstream  {{.Upstream}}   (what it received: {{.Upstream}}/_sandbox/requests)
  Metrics, health    http://{{.Admin}}/metrics   http://{{.Admin}}/readyz
  Configuration      {{.Dir}}/gateway.yaml

Paste into another terminal:

  # curl: the two projects that Ada may see, then one that she may not
  curl -H 'Authorization: Bearer {{.Token}}' {{.URL}}/v1/projects
  curl -H 'Authorization: Bearer {{.Token}}' {{.URL}}/v1/projects/{{.Hidden}}

  # Supabase CLI, with the profile file that this demo wrote
  SUPABASE_PROFILE={{.Dir}}/profile.yaml SUPABASE_ACCESS_TOKEN={{.Token}} npx --yes supabase projects list

  # MCP server, as your editor would start it; this line only greets it
  echo '{{.Initialize}}' | npx --yes @supabase/mcp-server-supabase --api-url {{.URL}} --access-token {{.Token}}

  # What Ada may do, as the gateway sees it
  {{.Self}} explain --config {{.Dir}}/gateway.yaml --as group:payments-eng GET /v1/projects/{{.Hidden}}

`

func (d *demo) welcome(w io.Writer, token string) error {
	self, err := os.Executable()
	if err != nil || strings.HasPrefix(self, os.TempDir()) {
		self = "go run ./cmd/gateway"
	}
	return template.Must(template.New("welcome").Parse(welcomeText)).Execute(w, map[string]string{
		"URL": d.PublicURL, "Token": token, "Upstream": d.UpstreamURL, "Admin": d.AdminListen, "Dir": d.dir, "Hidden": sandbox.Billing, "Self": self,
		"Initialize": `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"demo","version":"1"}}}`,
	})
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}
