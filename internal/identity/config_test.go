package identity_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/identity"
)

func TestConfigFaults(t *testing.T) {
	good := func() identity.Config {
		return identity.Config{PublicURL: publicURL, Issuers: []identity.Issuer{
			{Name: "corp", URL: corpURL, Audience: []string{audience}, Client: &identity.Client{ID: clientID}},
		}}
	}
	if err := good().Validate(); err != nil {
		t.Fatalf("a good configuration: %v", err)
	}
	if err := (identity.Config{}).Validate(); err != nil {
		t.Errorf("no issuers at all: %v", err)
	}
	for name, c := range map[string]struct {
		spoil func(*identity.Config)
		want  string
	}{
		"no name":             {func(c *identity.Config) { c.Issuers[0].Name = "" }, "identity.issuers[0].name: missing"},
		"a name twice":        {func(c *identity.Config) { c.Issuers = append(c.Issuers, c.Issuers[0]) }, `identity.issuers[1].name: "corp"`},
		"a URL twice":         {func(c *identity.Config) { c.Issuers = append(c.Issuers, c.Issuers[0]) }, `identity.issuers[1].url: "https://login.example"`},
		"no URL":              {func(c *identity.Config) { c.Issuers[0].URL = "" }, "identity.issuers[0].url: missing"},
		"plain HTTP":          {func(c *identity.Config) { c.Issuers[0].URL = "http://login.example" }, "must be https"},
		"a query":             {func(c *identity.Config) { c.Issuers[0].URL = corpURL + "?x=1" }, "not a plain URL"},
		"a password":          {func(c *identity.Config) { c.Issuers[0].URL = "https://a:b@login.example" }, "not a plain URL"},
		"no audience":         {func(c *identity.Config) { c.Issuers[0].Audience = nil }, "identity.issuers[0].audience"},
		"an empty audience":   {func(c *identity.Config) { c.Issuers[0].Audience = []string{""} }, "identity.issuers[0].audience"},
		"a client unnamed":    {func(c *identity.Config) { c.Issuers[0].Client.ID = "" }, "identity.issuers[0].client.id: missing"},
		"no public URL":       {func(c *identity.Config) { c.PublicURL = "" }, "server.public_url: missing"},
		"public plain HTTP":   {func(c *identity.Config) { c.PublicURL = "http://gateway.example" }, "server.public_url"},
		"a negative age":      {func(c *identity.Config) { c.Tokens.MaxAge = -time.Hour }, "identity.tokens.max_age"},
		"a negative patience": {func(c *identity.Config) { c.Tokens.ReauthenticateAfter = -1 }, "identity.tokens.reauthenticate_after"},
	} {
		t.Run(name, func(t *testing.T) {
			config := good()
			c.spoil(&config)
			if _, err := identity.New(config, openState(t, t.TempDir())); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New = %v, want an error with %q", err, c.want)
			}
		})
	}
	loopback := good()
	loopback.PublicURL, loopback.Issuers[0].URL = "http://127.0.0.1:8080", "http://localhost:9000/idp"
	if err := loopback.Validate(); err != nil {
		t.Errorf("plain HTTP on loopback: %v", err)
	}
	if err := (identity.Config{PublicURL: publicURL, Issuers: []identity.Issuer{{}, {}}}).Validate(); strings.Count(err.Error(), "\n") < 4 {
		t.Errorf("not all faults at once: %v", err)
	}
}

func TestCAFileFaults(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, filepath.Join(t.TempDir(), "missing.pem")} {
		_, err := identity.New(identity.Config{Issuers: []identity.Issuer{
			{Name: "corp", URL: corpURL, Audience: []string{audience}, CAFile: file},
		}}, openState(t, t.TempDir()))
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("New with CA file %s = %v, want an error that names it", file, err)
		}
	}
}

func TestTheClientSecretIsNotPrinted(t *testing.T) {
	config := identity.Config{Issuers: []identity.Issuer{{Client: &identity.Client{ID: "id", Secret: "hunter2"}}}}
	client := *config.Issuers[0].Client
	encoded, err := json.Marshal(config.Issuers)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(client), fmt.Sprintf("%v %+v %#v %s %q %x", client, client, client, client, client, client),
		fmt.Sprintf("%+v", config), fmt.Sprintf("%#v", &client), string(encoded),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("printed as %s", text)
		}
	}
}
