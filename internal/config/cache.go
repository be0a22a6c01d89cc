package config

import (
	"fmt"
	"regexp"
	"time"

	"corp.example/gateway/internal/strictyaml"
)

// Cache steers the cache of reads. Where state.redis is configured, the replicas share it.
type Cache struct {
	// Memory bounds what the cache of one replica holds. Default 256MiB, at least 1MiB.
	Memory strictyaml.Bytes `yaml:"memory" zero:"no"`
	// StaleIfError is how old an answer may be that is served because upstream failed. Default 10m; 0s: never.
	StaleIfError *strictyaml.Duration `yaml:"stale_if_error"`
	// IgnoreCookies are the names of cookies that do not keep an answer out of the cache, though upstream sets them with it: those
	// of a content network in front of it, which tell the gateway's connections apart and no caller. Default __cf_bm and
	// _cfuvid; [] is none. No client is ever sent a cookie of upstream's.
	IgnoreCookies []string `yaml:"ignore_cookies"`
}

// leastCache is the least memory that holds a single large list.
const leastCache = 1 << 20

// cookieForm are the names that cookies have in practice: a pattern would be taken for one otherwise.
var cookieForm = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func (c *Cache) fillDefaults() {
	setDefault(&c.Memory, 256<<20)
	if c.StaleIfError == nil {
		c.StaleIfError = new(strictyaml.Duration(10 * time.Minute))
	}
	if c.IgnoreCookies == nil {
		c.IgnoreCookies = []string{"__cf_bm", "_cfuvid"} // Cloudflare's, which may come with every answer
	}
}

func (v *validation) cache(c *Cache) {
	if c.Memory < leastCache {
		v.fault(fmt.Sprintf("%d bytes are too few for a single list: give it at least 1MiB", c.Memory), "cache", "memory")
	}
	for i, name := range c.IgnoreCookies {
		if !cookieForm.MatchString(name) {
			v.fault(fmt.Sprintf("%q is no name of a cookie: each is named in full", name), "cache", "ignore_cookies", i)
		}
	}
}
