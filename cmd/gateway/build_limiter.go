package main

import (
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/limiter"
)

// openLimiter keeps upstream's windows in Redis where replicas share one, and otherwise in memory.
func (g *gateway) openLimiter(limits *config.Limits) error {
	settings := limiterConfig(limits)
	if err := settings.Validate(); err != nil {
		return err
	}
	if g.backplane == nil {
		g.limiter = limiter.New(settings)
		return nil
	}
	shared := limiter.SharedConfig{Config: settings, Client: g.backplane.Client(), Log: g.log, ShareAway: limits.RedisAway == "share",
		Subscribe: func(channel string, heard func(string), missed func()) { g.backplane.Subscribe(channel, heard, missed) }}
	for _, c := range g.credentials.All() {
		shared.Owners = append(shared.Owners, c.Owner())
	}
	g.shared = limiter.NewShared(shared)
	g.limiter = g.shared
	return nil
}

func limiterConfig(l *config.Limits) limiter.Config {
	out := limiter.Config{Granularity: limiter.Granularity(l.Granularity), Headroom: l.Headroom, MaxWait: time.Duration(l.MaxWait)}
	for _, reserve := range l.Reserve {
		out.Reserve = append(out.Reserve, limiter.Reserve{Team: reserve.Team, Share: float64(reserve.Percent) / 100})
	}
	for class, limits := range l.Classes {
		if out.Classes == nil {
			out.Classes = map[string][]catalog.Limit{}
		}
		for _, limit := range limits {
			out.Classes[class] = append(out.Classes[class], catalog.Limit{N: limit.Requests, Window: time.Duration(limit.Window)})
		}
	}
	return out
}
