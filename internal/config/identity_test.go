package config_test

import (
	"strings"
	"testing"
	"time"
)

func TestIdentityFaults(t *testing.T) {
	const issuer = "{name: corp, url: https://login.example, audience: [a], "
	for identity, want := range map[string]string{
		"issuers: [" + issuer + "client: {id: g, prompt: sing}}]": `identity.issuers[0].client.prompt: "sing" is not one of consent, login, select_account`,
		"issuers: [" + issuer + "claims: {overage: fetch}}]":      `identity.issuers[0].claims.overage: "fetch" is not one of refuse, userinfo`,
		"refresh_membership: -1s":                                 "identity.refresh_membership",
		"tokens: {max_age: 400d}":                                 "identity.tokens.max_age",
	} {
		_, err := load(t, map[string]string{
			"gateway.yaml": "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: PAT}}]\nidentity: {" + identity + "}\n",
			"policy.yaml":  goodPolicy,
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("{%s}: error %v, want %s", identity, err, want)
		}
	}
}

func TestIdentityDefaults(t *testing.T) {
	for text, want := range map[string]time.Duration{"{}": 15 * time.Minute, "{refresh_membership: 0s}": 0} {
		loaded, err := load(t, map[string]string{
			"gateway.yaml": "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: PAT}}]\nidentity: " + text + "\n",
			"policy.yaml":  goodPolicy,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Duration(*loaded.Identity.RefreshMembership); got != want {
			t.Errorf("identity: %s refreshes every %v, want %v", text, got, want)
		}
	}
}
