package main

import (
	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/portal"
)

// status is what administrators see of the running service.
func (g *gateway) status() portal.Service {
	last, loaded, stats := g.proxy.LastAnswer(), g.reload.last(), g.cache.Stats()
	shown := portal.Service{
		Version: buildVersion(), Started: g.started,
		Upstream: portal.Upstream{URL: g.config.Upstream.URL, Status: last.Status, At: last.At},
		Policy:   portal.PolicyState{Loaded: loaded.inForce, Tried: loaded.tried},
		Cache:    portal.CacheState{Bytes: stats.Bytes, Most: int64(g.config.Cache.Memory), Entries: stats.Entries},

		Credentials: []portal.Credential{}, Shadows: []portal.Shadow{}, // empty lists, not null
	}
	if loaded.fault != nil {
		shown.Policy.Fault = loaded.fault.Error()
	}
	if err := g.audit.Healthy(); err != nil {
		shown.AuditFault = err.Error()
	}
	for _, c := range g.credentials.All() {
		shown.Credentials = append(shown.Credentials, portal.Credential{Name: c.Name(), Owner: c.Owner(), Healthy: c.Healthy()})
	}
	for _, s := range g.proxy.Shadows() {
		shown.Shadows = append(shown.Shadows, portal.Shadow{Rule: s.Rule, Allow: s.Allow, Calls: s.Calls, Last: s.Last})
	}
	return shown
}

// purge forgets cached answers for an administrator.
func (g *gateway) purge(project, operation string) int {
	var scopes []string
	if project != "" {
		scopes = append(scopes, "project:"+project)
	}
	if operation != "" {
		scopes = append(scopes, cache.OperationScope(operation))
	}
	return g.cache.Purge(scopes...)
}
