package rig

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Gateway is a running gateway with everything on: tokens, policy, limiter, cache, the audit log to a file, metrics.
type Gateway struct {
	*Process
	Address string // of the public listener
	Admin   string // of the admin listener
	binary  string
	dir     string
}

// Options are what differs between the gateways that are measured.
type Options struct {
	Policy   string // policy.yaml; "": Policy(20, 20)
	Redis    string // URL of the Redis that replicas share; "": none
	Upstream string // its URL; "": the neighbours'
	Memory   string // of the cache; "": the default
	Audit    string // audit.sinks; "": files
}

const (
	unlimited = 1_000_000_000    // a quota that nobody spends
	maxWait   = 10 * time.Minute // how long a request may queue: what waits does so until it has been measured
)

// Gateway starts a gateway in an empty folder and waits until it is ready.
func (n *Neighbours) Gateway(binary, dir string, o Options) (*Gateway, error) {
	g := &Gateway{binary: binary, dir: dir}
	if err := n.configure(g, o); err != nil {
		return nil, err
	}
	return g, g.Launch()
}

func (n *Neighbours) configure(g *Gateway, o Options) (err error) {
	if g.Address, err = FreeAddress(); err != nil {
		return err
	}
	if g.Admin, err = FreeAddress(); err != nil {
		return err
	}
	if o.Policy == "" {
		o.Policy = Policy(20, 20)
	}
	if o.Memory == "" {
		o.Memory = "256MiB"
	}
	if o.Audit == "" {
		// The cap keeps a run from filling the disk, and from measuring what a virtual machine pays for memory that it never had
		// before: the kernel uses the pages of removed files again.
		o.Audit = "[{file: {dir: audit, max_total: 256MiB}, required: true}]"
	}
	redis := ""
	if o.Redis != "" {
		redis = fmt.Sprintf("redis: {url: %q}, seal_key: {file: seal-key}, ", o.Redis)
	}
	// The load comes from one address, so it is let have all connections, as a trusted proxy is.
	config := fmt.Sprintf(`server: {listen: %q, public_url: "http://%s", trusted_proxies: [127.0.0.0/8], max_connections: 20000}
admin: {listen: %q}
state: {%sdir: state}
upstream: {url: %q}
credentials: [{name: shared, owner: platform-bot, token: {file: pat}}]
identity: {issuers: [{name: corp, url: %q, audience: [%s]}]}
policy: {file: policy.yaml}
limits: {max_wait: %s, classes: {default: [{requests: %d, window: 1m}]}}
cache: {memory: %s}
audit: {sinks: %s}
`, g.Address, g.Address, g.Admin, redis, cmp.Or(o.Upstream, n.Upstream.URL), n.People.Issuer(), audience, maxWait, unlimited, o.Memory, o.Audit)
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		return err
	}
	for name, content := range map[string]string{"gateway.yaml": config, "policy.yaml": o.Policy, "pat": "sbp_" + strings.Repeat("0", 40),
		"seal-key": strings.Repeat("5e", 32)} {
		if err := os.WriteFile(filepath.Join(g.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Launch starts the process; a measurement that ended it calls it to start it again.
func (g *Gateway) Launch() (err error) {
	if g.Process, err = Start(g.binary, "serve", "--config", filepath.Join(g.dir, "gateway.yaml")); err != nil {
		return err
	}
	return g.AwaitAnswer("http://" + g.Admin + "/readyz")
}

// Token mints a token for somebody in a team.
func (g *Gateway) Token(team string) (string, error) {
	out, err := exec.Command(g.binary, "token", "create", "--config", filepath.Join(g.dir, "gateway.yaml"),
		"--subject", team+"-robot", "--team", team, "--name", "bench").Output()
	if err != nil {
		var detail []byte
		if exit, ok := err.(*exec.ExitError); ok {
			detail = exit.Stderr
		}
		return "", fmt.Errorf("minting a token: %w: %s", err, detail)
	}
	return strings.TrimSpace(string(out)), nil
}

// The teams of Policy that callers are in: Team may read the first projects, and Wide every second of the first thousand.
const (
	Team = "bench"
	Wide = "wide"
)

// Policy is a policy of so many further teams with so many grants each, beside Team and Wide.
func Policy(teams, grants int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "teams:\n  - name: %s\n    members: [{group: %s}]\n    allow:\n      - {projects: [%s], scopes: [\"*\"], permissions: [\"*\"]}\n", Team, group, refs(Numbers(20, 1)))
	fmt.Fprintf(&b, "  - name: %s\n    members: [{group: wide-eng}]\n    allow:\n      - {projects: [%s], scopes: [\"*\"], permissions: [\"*\"]}\n", Wide, refs(Numbers(1000, 2)))
	for i := range teams {
		fmt.Fprintf(&b, "  - name: team-%d\n    members: [{group: group-%d}, {email: person-%d@corp.example}]\n    allow:\n", i, i, i)
		for j := range grants {
			fmt.Fprintf(&b, "      - {projects: [%s], scopes: [\"database:*\", \"projects:read\"], branches: true}\n", Ref(10_000+i*grants+j))
		}
	}
	return b.String()
}

func refs(numbers []int) string {
	var all []string
	for _, i := range numbers {
		all = append(all, Ref(i))
	}
	return strings.Join(all, ", ")
}

// PolicyOfProjects grants some projects to Team, who is its only one.
func PolicyOfProjects(numbers []int) string {
	return fmt.Sprintf("teams:\n  - name: %s\n    members: [{group: %s}]\n    allow:\n      - {projects: [%s], scopes: [\"*\"], permissions: [\"*\"]}\n", Team, group, refs(numbers))
}

// PolicyOfAll grants every project to Team, who is its only one.
func PolicyOfAll() string {
	return fmt.Sprintf("teams:\n  - name: %s\n    members: [{group: %s}]\n    allow:\n      - {projects: [\"*\"], scopes: [\"*\"], permissions: [\"*\"]}\n", Team, group)
}

// PolicyOfOne has Team alone, with so many grants of a project each; the last of them is for project 0.
func PolicyOfOne(grants int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "teams:\n  - name: %s\n    members: [{group: %s}]\n    allow:\n", Team, group)
	for i := range grants {
		fmt.Fprintf(&b, "      - {projects: [%s], scopes: [\"*\"], permissions: [\"*\"]}\n", Ref(grants-1-i))
	}
	return b.String()
}

// Fetch writes what url answers to a file, whose folder it makes.
func Fetch(url, path string) error {
	answer, err := http.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
