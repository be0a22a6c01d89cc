package config_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	credentialsHead = "server: {public_url: https://g.example}\nstate: {seal_key: {file: seal}}\ncredentials:\n"
	sealKey         = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
)

func TestEveryKindOfCredentialLoads(t *testing.T) {
	loaded, err := load(t, map[string]string{
		"gateway.yaml": credentialsHead + `
  - {name: classic, token: {env: PAT}}
  - {name: scoped, token: {file: pat}, expires: 2027-01-31, scopes: ["database:*", projects_read], permissions: [infra_disk_config_read, projects_read]}
  - {name: app, owner: ci-app, oauth: {client_id: 66666666-6666-4666-8666-666666666666, client_secret: {file: app}}, organizations: [acme]}
`, "policy.yaml": goodPolicy, "pat": "token", "app": "secret", "seal": sealKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	scoped, app := &loaded.Credentials[1], &loaded.Credentials[2]
	if want := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC); !scoped.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", scoped.Expires, want)
	}
	rights := scoped.Rights(loaded.Catalog)
	for _, want := range []string{"database:read", "database:write", "projects_read", "infra_disk_config_read"} {
		if !slices.Contains(rights, want) {
			t.Errorf("rights %v lack %s", rights, want)
		}
	}
	if !slices.IsSorted(rights) || len(slices.Compact(slices.Clone(rights))) != len(rights) || slices.Contains(rights, "projects:read") {
		t.Errorf("rights %v", rights)
	}
	if len(loaded.Credentials[0].Rights(loaded.Catalog)) != 0 {
		t.Error("a credential without scopes does not have all")
	}
	if app.OAuth == nil || !strings.HasSuffix(app.OAuth.ClientSecret.File, "/app") || app.Owner != "ci-app" {
		t.Errorf("app %+v", app)
	}
}

func TestFaultsOfCredentialsAreSaidWithTheirRemedy(t *testing.T) {
	_, err := load(t, map[string]string{
		"gateway.yaml": `server: {public_url: https://g.example}
credentials:
  - {name: a, token: {env: PAT}, scopes: ["databse:read"], permissions: ["database:read", infra_disk_config_raed]}
  - {name: b, token: {env: PAT}, oauth: {client_id: x, client_secret: {env: PAT}}}
  - {name: c, oauth: {client_secret: {env: UNSET}}, expires: 2027-01-31}
  - {name: d, token: {env: PAT}, expires: "31.01.2027"}
  - {name: e}
`, "policy.yaml": goodPolicy,
	})
	if err == nil {
		t.Fatal("no fault was found")
	}
	for _, want := range []string{
		`gateway.yaml:3: credentials[0].scopes[0]: "databse:read" is no scope or permission of any operation, did you mean "database:read"?`,
		`gateway.yaml:3: credentials[0].permissions[0]: "database:read" is no permission of any operation`,
		`gateway.yaml:3: credentials[0].permissions[1]: "infra_disk_config_raed" is no permission of any operation, did you mean "infra_disk_config_read"?`,
		`gateway.yaml:4: credentials[1].oauth: stands beside token`,
		`gateway.yaml:5: credentials[2].oauth: needs state.seal_key`,
		`gateway.yaml:5: credentials[2].oauth.client_id: is missing`,
		`gateway.yaml:5: credentials[2].oauth.client_secret: environment variable UNSET is not set`,
		`gateway.yaml:5: credentials[2].expires: is for personal access tokens`,
		`gateway.yaml:6: credentials[3].expires: "31.01.2027" is no date`,
		`gateway.yaml:7: credentials[4].token: wants {file: PATH} or {env: NAME}`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("said was:\n%v", err)
	}
}
