package config

import (
	"fmt"
	"time"

	"corp.example/gateway/internal/strictyaml"
)

// Cache steers the cache of reads. Where state.redis is configured, the replicas share it.
type Cache struct {
	// Memory bounds what the cache of one replica holds. Default 256MiB, at least 1MiB.
	Memory strictyaml.Bytes `yaml:"memory"`
	// StaleIfError is how old an answer may be that is served because upstream failed. Default 10m; 0s: never.
	StaleIfError *strictyaml.Duration `yaml:"stale_if_error"`
}

// leastCache is the least memory that holds a single large list.
const leastCache = 1 << 20

func (c *Cache) fillDefaults() {
	setDefault(&c.Memory, 256<<20)
	if c.StaleIfError == nil {
		c.StaleIfError = new(strictyaml.Duration(10 * time.Minute))
	}
}

func (v *validation) cache(c *Cache) {
	if c.Memory < leastCache {
		v.fault(fmt.Sprintf("%d bytes are too few for a single list: give it at least 1MiB", c.Memory), "cache", "memory")
	}
}
