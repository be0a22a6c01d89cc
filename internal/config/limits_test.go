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
