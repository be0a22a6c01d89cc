package config

import (
	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/secret"
)

// State is where the gateway keeps what must survive a restart.
type State struct {
	// Dir holds tokens and sessions, where they are not kept in Redis, and the audit log. One running gateway at a time
	// owns it. Default "./data".
	Dir string `yaml:"dir"`
	// Redis is shared by the replicas of one service: tokens, sessions, buckets and cached answers. Left out: one replica,
	// which keeps them itself.
	Redis *Redis `yaml:"redis"`
	// SealKey is where the keys are kept that encrypt OAuth tokens, refresh tokens and cached bodies: 64 hexadecimal
	// digits a line, the first seals, all open. Without it nothing is kept that would have to be sealed.
	SealKey secret.Source `yaml:"seal_key"`
}

// Redis is one server, a Sentinel group or a Cluster.
type Redis struct {
	// URL is redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/DB?master=NAME or
	// redis+cluster://HOST:PORT,HOST:PORT; rediss for TLS.
	URL string `yaml:"url"`
	// Password is where Redis's password is kept; the Sentinels are given it too. Default: none.
	Password secret.Source `yaml:"password"`
	// CAFile holds the certificate authorities its certificate is checked against. Default: the system's.
	CAFile string `yaml:"ca_file"`
}

func (v *validation) state(s *State) {
	v.writableParent(s.Dir, "state", "dir")
	if !s.SealKey.IsZero() {
		if _, err := seal.Load(s.SealKey, v.getenv); err != nil {
			v.fault(err.Error(), "state", "seal_key")
		}
	}
	if s.Redis == nil {
		return
	}
	if err := backplane.CheckURL(s.Redis.URL); err != nil {
		v.fault(err.Error(), "state", "redis", "url")
	}
	if !s.Redis.Password.IsZero() {
		if _, err := s.Redis.Password.Read(v.getenv); err != nil {
			v.fault(err.Error(), "state", "redis", "password")
		}
	}
	v.authorities(s.Redis.CAFile, "state", "redis", "ca_file")
}

// paths are those of the section, to be made absolute.
func (s *State) paths() []*string {
	paths := []*string{&s.Dir, &s.SealKey.File}
	if s.Redis != nil {
		paths = append(paths, &s.Redis.Password.File, &s.Redis.CAFile)
	}
	return paths
}
