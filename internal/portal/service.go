package portal

import (
	"net/http"
	"runtime"
	"time"
)

// Service is what administrators see of the service at one moment. Its form is that of /-/api/admin.
type Service struct {
	Version     string       `json:"version"`
	Started     time.Time    `json:"started"`
	Upstream    Upstream     `json:"upstream"`
	Policy      PolicyState  `json:"policy"`
	AuditFault  string       `json:"audit_fault,omitempty"` // why writes are refused now
	Credentials []Credential `json:"credentials"`
	Cache       CacheState   `json:"cache"`
	Shadows     []Shadow     `json:"shadows"`
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
	Name    string `json:"name"`
	Owner   string `json:"owner"`   // whose quota it spends
	Healthy bool   `json:"healthy"` // upstream accepted it when it last judged it
}

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
	if err := v.adminOnly(); err != nil {
		return err
	}
	return v.json(http.StatusOK, struct {
		Service
		Process process `json:"process"`
	}{p.config.Service(), thisProcess()})
}
