package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/strictyaml"
)

// Limits steers the queue for upstream's quota.
type Limits struct {
	// Granularity is how upstream counts: scope, endpoint, or auto to find out. Default auto.
	Granularity string `yaml:"granularity" jsonschema:"enum=auto,enum=scope,enum=endpoint"`
	// Headroom is how many requests of each window are left unused. Default 0.
	Headroom int `yaml:"headroom"`
	// MaxWait is the longest a request queues. Default 50s: the Supabase CLI gives up after 60 s.
	MaxWait strictyaml.Duration `yaml:"max_wait" zero:"no"`
	// Reserve keeps shares of the quota for others. Default: none.
	Reserve []Reserve `yaml:"reserve"`
	// Classes replaces the catalogue's limits by class, for an upstream that counts otherwise. A call of a class spends all
	// of its limits. Default: the catalogue's.
	Classes map[string][]Limit `yaml:"classes"`
	// RedisAway is what becomes of requests while the Redis that replicas share does not answer: refuse holds each for a short
	// time and then answers 503; share has every replica spend its part of what each window had left. Default refuse.
	RedisAway string `yaml:"redis_away" jsonschema:"enum=refuse,enum=share"`
}

// Limit is so many requests in a window that begins with the first of them.
type Limit struct {
	Requests int                 `yaml:"requests"`
	Window   strictyaml.Duration `yaml:"window"`
}

// Reserve keeps a share of every window, for one team or for spenders outside the gateway.
type Reserve struct {
	// Team is whose share it is. Empty: outsiders', which the gateway leaves unused.
	Team string `yaml:"team"`
	// Percent of each window, 1 to 90.
	Percent int `yaml:"percent"`
}

func (l *Limits) fillDefaults() {
	setDefault(&l.Granularity, "auto")
	setDefault(&l.MaxWait, strictyaml.Duration(50*time.Second))
	setDefault(&l.RedisAway, "refuse")
}

func (v *validation) limits(l *Limits) {
	if !slices.Contains([]string{"auto", "scope", "endpoint"}, l.Granularity) {
		v.fault(fmt.Sprintf("%q is not one of auto, scope, endpoint", l.Granularity), "limits", "granularity")
	}
	if !slices.Contains([]string{"refuse", "share"}, l.RedisAway) {
		v.fault(fmt.Sprintf("%q is not one of refuse, share", l.RedisAway), "limits", "redis_away")
	}
	if l.Headroom < 0 || l.Headroom > 60 {
		v.fault(fmt.Sprintf("%d is not between 0 and 60 requests of a window", l.Headroom), "limits", "headroom")
	}
	total, teams := 0, map[string]bool{}
	for i, reserve := range l.Reserve {
		if teams[reserve.Team] {
			v.fault(cmp.Or(reserve.Team, "the outside")+" has a share above: make one of the two", "limits", "reserve", i)
		}
		teams[reserve.Team] = true
		if total += reserve.Percent; reserve.Percent < 1 || total > 90 {
			v.fault("wants a percentage from 1, and not more than 90 for all together", "limits", "reserve", i, "percent")
		}
	}
	for _, class := range slices.Sorted(maps.Keys(l.Classes)) {
		if len(l.Classes[class]) == 0 {
			v.fault("wants at least one limit", "limits", "classes", class)
		}
		for i, limit := range l.Classes[class] {
			if limit.Requests < 1 || limit.Window < strictyaml.Duration(time.Millisecond) {
				v.fault("wants at least one request, and a window of 1ms or longer", "limits", "classes", class, i)
			}
		}
	}
}

// ReservedForNobody returns which of Reserve are for a team that is none of those given, by their numbers in it: what they keep
// nobody can spend. A gateway serves all the same, since a team may leave the policy while it runs.
func (l *Limits) ReservedForNobody(teams []string) []int {
	var unknown []int
	for i, reserve := range l.Reserve {
		if reserve.Team != "" && !slices.Contains(teams, reserve.Team) {
			unknown = append(unknown, i)
		}
	}
	return unknown
}

func (v *validation) reserves(l *Limits, teams []string) {
	for _, i := range l.ReservedForNobody(teams) {
		v.fault(fmt.Sprintf("%q is no team of the policy: nobody could spend its share", l.Reserve[i].Team), "limits", "reserve", i, "team")
	}
}

// classes finds limits of a class that no operation has: they would be kept by nobody.
func (v *validation) classes(limits map[string][]Limit, cat *catalog.Catalog) {
	var known []string
	for _, op := range cat.Operations() {
		known = append(known, op.Class.Name)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	for _, class := range slices.Sorted(maps.Keys(limits)) {
		if !slices.Contains(known, class) {
			v.fault(fmt.Sprintf("%q is no limit class: write one of %s", class, strings.Join(known, ", ")), "limits", "classes", class)
		}
	}
}
