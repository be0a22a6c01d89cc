package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"corp.example/gateway/configs"
	"corp.example/gateway/internal/config"
)

const goodPolicy = "teams:\n  - {name: a, members: [{group: g}], allow: [{projects: [abcdefghijklmnopqrst], scopes: [\"database:read\"]}]}\n"

// load writes files into a folder and loads its gateway.yaml; check checks it.
func load(t *testing.T, files map[string]string) (*config.Loaded, error) {
	t.Helper()
	return config.Load(written(t, files), secrets)
}

func check(t *testing.T, files map[string]string) (*config.Loaded, error) {
	t.Helper()
	return config.Check(written(t, files), secrets)
}

func written(t *testing.T, files map[string]string) (path string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gateway.yaml")
}

func secrets(name string) string {
	return map[string]string{"PAT": "token", "SUPABASE_PAT": "token", "OIDC_CLIENT_SECRET": "secret"}[name]
}

func TestAMinimalFileHasEveryDefault(t *testing.T) {
	loaded, err := load(t, map[string]string{
		"gateway.yaml": "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: PAT}}]\n",
		"policy.yaml":  goodPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	f := loaded.File
	if f.Server.Listen != ":8443" || f.Admin.Listen != "127.0.0.1:9090" || f.Upstream.URL != "https://api.supabase.com" || f.Credentials[0].Owner != "shared" ||
		time.Duration(f.Limits.MaxWait) != 50*time.Second || f.Cache.Memory != 256<<20 || time.Duration(*f.Cache.StaleIfError) != 10*time.Minute ||
		!slices.Equal(f.Cache.IgnoreCookies, []string{"__cf_bm", "_cfuvid"}) {
		t.Errorf("defaults %+v", f)
	}
	if len(f.Audit.Sinks) != 1 || !f.Audit.Sinks[0].Required || !filepath.IsAbs(f.Audit.Sinks[0].File.Dir) || !filepath.IsAbs(f.State.Dir) {
		t.Errorf("audit %+v, state %+v", f.Audit.Sinks, f.State)
	}
	if loaded.Policy == nil || loaded.Catalog == nil {
		t.Error("policy or catalogue was not compiled")
	}
}

func TestEveryFaultIsSaidAtOnceWithFileLineAndKey(t *testing.T) {
	_, err := load(t, map[string]string{
		"gateway.yaml": `server:
  public_url: http://supabase.corp.example
  lisen: ":1"
  trusted_proxies: [everywhere]
admin: {listen: ":8443"}
state: {dir: gateway.yaml}
upstream: {url: "https://api.example/base", forward_headers: [Authorization, "X-Forwarded-Host", prefer, range]}
credentials:
  - {name: Shared Token, token: {file: no-such-file}}
  - {name: b, token: {env: UNSET}, projects: [short]}
identity:
  issuers: [{name: corp, url: https://login.example}]
  tokens: {max_age: 2y}
limits: {granularity: both, headroom: 100, max_wait: 0s, classes: {defualt: [{requests: 1, window: 1s}]}}
audit: {sinks: [{file: {dir: a}, stdout: true}]}
telemetry: {log: {level: loud}}
cache: {ignore_cookies: ["__cf_*"]}
catalog: {extra: [{id: x-mine, method: GET, path: "no-slash"}, {id: x-yours, method: GTE, path: /v2/things, effect: read, scope: "things:read"}]}
`,
	})
	if err == nil {
		t.Fatal("no fault was found")
	}
	for _, want := range []string{
		`gateway.yaml:2: server.public_url: "http://supabase.corp.example" would carry tokens in the clear`,
		`gateway.yaml:3: server.lisen: unknown key: did you mean "listen"?`,
		`gateway.yaml:4: server.trusted_proxies[0]: "everywhere" is no network`,
		`gateway.yaml:5: admin.listen: is also the public listener's address`,
		`gateway.yaml:6: state.dir: `,
		`gateway.yaml:7: upstream.url: "https://api.example/base" must have no path`,
		`gateway.yaml:7: upstream.forward_headers[0]: "Authorization" is never forwarded`,
		`gateway.yaml:7: upstream.forward_headers[1]: "X-Forwarded-Host" is never forwarded`,
		`gateway.yaml:7: upstream.forward_headers[2]: "prefer" is never forwarded`,
		`gateway.yaml:7: upstream.forward_headers[3]: "range" is never forwarded`,
		`gateway.yaml:9: credentials[0].name: "Shared Token" is no name`,
		`gateway.yaml:9: credentials[0].token: reading the secret: open `,
		`gateway.yaml:10: credentials[1].token: environment variable UNSET is not set`,
		`gateway.yaml:10: credentials[1].projects[0]: "short" is no project ref`,
		`gateway.yaml:12: identity.issuers[0].audience: is missing`,
		`gateway.yaml:13: identity.tokens.max_age: "2y" is no duration`,
		`gateway.yaml:14: limits.granularity: "both" is not one of`,
		`gateway.yaml:14: limits.headroom: 100 is not between`,
		`gateway.yaml:14: limits.max_wait: "0s" would count as left out`,
		`gateway.yaml:15: audit.sinks[0]: wants one of`,
		`gateway.yaml:15: audit.sinks: none is required`,
		`gateway.yaml:16: telemetry.log.level: "loud" is not one of`,
		`gateway.yaml:17: cache.ignore_cookies[0]: "__cf_*" is no name of a cookie`,
		`gateway.yaml:18: catalog.extra[0].path: "no-slash" is no path template`,
		`gateway.yaml:18: catalog.extra[0].effect: say what it does`,
		`gateway.yaml:18: catalog.extra[1].method: "GTE" is no method`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("said was:\n%v", err)
	}
}

func TestAFaultyPolicyIsReportedWithTheConfiguration(t *testing.T) {
	_, err := load(t, map[string]string{
		"gateway.yaml": "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: UNSET}}]\n",
		"policy.yaml":  "teams:\n  - {name: a, members: [{group: g, issuer: nobody}], allow: [{projects: [abcdefghijklmnopqrst], scopes: [\"databse:read\"]}]}\n",
	})
	for _, want := range []string{"gateway.yaml:2: credentials[0].token: ", `policy.yaml:2: teams[0].allow[0].scopes[0]: unknown scope "databse:read", did you mean "database:read"?`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s in:\n%v", want, err)
		}
	}
	_, err = load(t, map[string]string{
		"gateway.yaml": "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: PAT}}]\n",
		"policy.yaml":  "teams:\n  - {name: a, members: [{group: g, issuer: nobody}], allow: [{projects: [abcdefghijklmnopqrst], scopes: [\"database:read\"]}]}\n",
	})
	if err == nil || !strings.Contains(err.Error(), `unknown issuer "nobody"`) {
		t.Errorf("a member of an issuer that is not configured: %v", err)
	}
}

func TestLimitsAreOfAKnownClass(t *testing.T) {
	_, err := load(t, map[string]string{
		"gateway.yaml": "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: PAT}}]\nlimits: {classes: {defualt: [{requests: 1, window: 1s}], logs: [{requests: 1, window: 1s}]}}\n",
		"policy.yaml":  goodPolicy,
	})
	if want := `gateway.yaml:3: limits.classes.defualt: "defualt" is no limit class: write one of context, default, `; err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want %s alone", err, want)
	}
}

// What a file lacks is not known where it cannot be read.
func TestAFileThatCannotBeReadHasNoOtherFault(t *testing.T) {
	for text, want := range map[string]string{"server: {": "gateway.yaml:1: this is not valid YAML", "hello\n": "gateway.yaml:1: wants keys and values"} {
		if _, err := load(t, map[string]string{"gateway.yaml": text, "policy.yaml": goodPolicy}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "is missing") {
			t.Errorf("%q: %v, want %q alone", text, err, want)
		}
	}
}

func TestAnAddressToListenOnHasAPort(t *testing.T) {
	for address, good := range map[string]bool{":8443": true, "127.0.0.1:0": true, "[::1]:443": true, ":https": true, "8443": false, ":99999": false, ":": false, ":nonsense": false} {
		_, err := load(t, map[string]string{
			"gateway.yaml": "server: {public_url: https://g.example, listen: \"" + address + "\"}\ncredentials: [{name: shared, token: {env: PAT}}]\n",
			"policy.yaml":  goodPolicy,
		})
		if refused := err != nil && strings.Contains(err.Error(), "server.listen: "); refused == good {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestThePublicURLHasNoPath(t *testing.T) {
	for url, good := range map[string]bool{"https://g.example": true, "https://g.example/": true, "https://g.example/base": false} {
		_, err := load(t, map[string]string{
			"gateway.yaml": "server: {public_url: " + url + "}\ncredentials: [{name: shared, token: {env: PAT}}]\n",
			"policy.yaml":  goodPolicy,
		})
		if refused := err != nil && strings.Contains(err.Error(), "must have no path"); refused == good {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestMissingFilesSaySoInOneLine(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no configuration": {},
		"no policy":        {"gateway.yaml": "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: PAT}}]\n"},
	} {
		if _, err := load(t, files); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheExampleConfigurationLoads(t *testing.T) {
	getenv := func(name string) string { return "value-of-" + name }
	if _, err := config.Load(filepath.Join("..", "..", "configs", "gateway.yaml"), getenv); err != nil {
		t.Errorf("configs/gateway.yaml: %v", err)
	}
}

func TestTheDemosConfigurationLoads(t *testing.T) {
	var gateway strings.Builder
	if err := template.Must(template.New("").Parse(configs.DemoGateway)).Execute(&gateway, map[string]string{
		"Listen": "127.0.0.1:1", "AdminListen": "127.0.0.1:2", "PublicURL": "http://127.0.0.1:1", "UpstreamURL": "http://127.0.0.1:3", "IssuerURL": "http://127.0.0.1:4",
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, map[string]string{"gateway.yaml": gateway.String(), "policy.yaml": string(configs.DemoPolicy), "upstream-token": "t", "client-secret": "s"}); err != nil {
		t.Errorf("configs/demo: %v", err)
	}
}
