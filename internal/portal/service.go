package portal

import (
	"net/http"
	"runtime"
	"time"
)

// Service is what administrators see of the service at one moment. Its form is that of /-/api/admin.
type Service struct {
	Version     string       `json:"version"` // of the replica that answers, as everything that is not said to be of all
	Started     time.Time    `json:"started"`
	Replicas    []Replica    `json:"replicas"`        // all that run, the one that answers first
	Redis       *Redis       `json:"redis,omitempty"` // nil: one replica keeps everything itself
	Upstream    Upstream     `json:"upstream"`
	Policy      PolicyState  `json:"policy"`
	AuditFault  string       `json:"audit_fault,omitempty"` // why writes are refused now
	Credentials []Credential `json:"credentials"`
	Cache       CacheState   `json:"cache"`
	Shadows     []Shadow     `json:"shadows"`
}

// Replica is one running gateway of the service.
type Replica struct {
	Name    string    `json:"name"`
	Address string    `json:"address"` // of its public listener
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Said    time.Time `json:"said"`             // when it said how it does
	Faults  []string  `json:"faults,omitempty"` // what is not well with it; none: all is
	This    bool      `json:"this"`             // the one that answers
}

// Redis is how what the replicas share does.
type Redis struct {
	Fault string `json:"fault,omitempty"` // why it is taken to be away; "": it answers
}

// Upstream is what came of the last exchange with upstream.
type Upstream struct {
	URL    string    `json:"url"`
	Status int       `json:"status"`         // 0: no answer came
	At     time.Time `json:"asked,omitzero"` // zero: it has not been asked since the start
}

// PolicyState is how the policy in force came to be.
type PolicyState struct {
	Loaded time.Time `json:"loaded"`          // when the one in force was
	Tried  time.Time `json:"tried,omitzero"`  // when a changed one was read last; zero: none was
	Fault  string    `json:"fault,omitempty"` // why that one is not in force
}

// Credential is what administrators see of an upstream credential.
type Credential struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"`             // TokenCredential or OAuthCredential
	Owner   string    `json:"owner"`            // whose quota it spends
	Healthy bool      `json:"healthy"`          // upstream accepted it when it last judged it
	Fault   string    `json:"fault,omitempty"`  // what is wrong with it and what to do about it
	Expires time.Time `json:"expires,omitzero"` // of a token, as its owner says; zero: not said, or renewed by itself
}

// The kinds of credentials, named as "gateway credential list" has them.
const (
	TokenCredential = "token"
	OAuthCredential = "oauth"
)

// KindText is the kind for people.
func (c Credential) KindText() string {
	if c.Kind == OAuthCredential {
		return "OAuth app"
	}
	return "personal access token"
}

// soon is from when on a token's end stands out: enough time to ask somebody for the next one.
const soon = 14 * 24 * time.Hour

// EndsSoon reports whether the token has to be replaced now.
func (c Credential) EndsSoon() bool { return !c.Expires.IsZero() && time.Until(c.Expires) < soon }

// Ended reports whether its time is over.
func (c Credential) Ended() bool { return !c.Expires.IsZero() && time.Now().After(c.Expires) }

// CacheState is how full the cache is.
type CacheState struct {
	Bytes   int64 `json:"bytes"`
	Most    int64 `json:"most_bytes"` // it keeps below this
	Entries int   `json:"entries"`
}

// Shadow is how often a shadow rule would have decided otherwise since the service started.
type Shadow struct {
	Rule  string    `json:"rule"`
	Allow bool      `json:"allow"` // what it would have decided
	Calls int       `json:"calls"`
	Last  time.Time `json:"last"`
}

// process is this process, as the Go runtime sees it.
type process struct {
	Goroutines int   `json:"goroutines"`
	Memory     int64 `json:"memory_bytes"` // taken from the operating system
}

func thisProcess() process {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory) // stops the world for microseconds; administrators look rarely
	return process{Goroutines: runtime.NumGoroutine(), Memory: int64(memory.Sys - memory.HeapReleased)}
}

// apiAdmin is the state of the service for administrators.
func (p *Portal) apiAdmin(v *visit) error {
	if _, err := v.parameters(); err != nil {
		return err
	}
	if err := v.adminOnly(); err != nil {
		return err
	}
	return v.json(http.StatusOK, struct {
		Service
		Process process `json:"process"`
	}{p.config.Service(v.r.Context()), thisProcess()})
}
