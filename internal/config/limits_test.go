package config_test

import (
	"strings"
	"testing"
)

func TestRedisAway(t *testing.T) {
	for limits, test := range map[string]struct{ want, fault string }{
		"{}":                   {want: "refuse"},
		"{redis_away: share}":  {want: "share"},
		"{redis_away: refuse}": {want: "refuse"},
		"{redis_away: ignore}": {fault: `limits.redis_away: "ignore" is not one of refuse, share`},
	} {
		loaded, err := load(t, map[string]string{
			"gateway.yaml": "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: PAT}}]\nlimits: " + limits + "\n",
			"policy.yaml":  goodPolicy,
		})
		switch {
		case test.fault != "":
			if err == nil || !strings.Contains(err.Error(), test.fault) {
				t.Errorf("%s: error %v, want %s", limits, err, test.fault)
			}
		case err != nil:
			t.Errorf("%s: %v", limits, err)
		case loaded.Limits.RedisAway != test.want:
			t.Errorf("%s: %q, want %q", limits, loaded.Limits.RedisAway, test.want)
		}
	}
}

// A share of the quota is one team's, and says so once.
func TestReserve(t *testing.T) {
	for reserve, fault := range map[string]string{
		"[{percent: 5}, {team: payments, percent: 20}]":                 "",
		"[{team: payments, percent: 5}, {team: payments, percent: 20}]": "limits.reserve[1]: payments has a share above",
		"[{percent: 5}, {percent: 20}]":                                 "limits.reserve[1]: the outside has a share above",
		"[{team: payments, percent: 0}]":                                "limits.reserve[0].percent: wants a percentage from 1",
		"[{percent: 50}, {team: payments, percent: 41}]":                "limits.reserve[1].percent: wants a percentage from 1",
	} {
		_, err := load(t, map[string]string{
			"gateway.yaml": "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: PAT}}]\nlimits: {reserve: " + reserve + "}\n",
			"policy.yaml":  goodPolicy,
		})
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%s: error %v, want %q", reserve, err, fault)
		}
	}
}

// A team may leave the policy while a gateway runs, which must start again then. Who checks hears of its share.
func TestReservedForNobody(t *testing.T) {
	files := map[string]string{
		"gateway.yaml": "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: PAT}}]\n" +
			"limits: {reserve: [{percent: 5}, {team: a, percent: 5}, {team: paymens, percent: 5}]}\n",
		"policy.yaml": goodPolicy,
	}
	if _, err := load(t, files); err != nil {
		t.Errorf("a start fails: %v", err)
	}
	const want = `gateway.yaml:3: limits.reserve[2].team: "paymens" is no team of the policy`
	if _, err := check(t, files); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "reserve[0]") || strings.Contains(err.Error(), "reserve[1]") {
		t.Errorf("a check says %v, want %s alone", err, want)
	}
}
