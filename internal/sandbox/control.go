package sandbox

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// maxControlBody bounds a control request: a hundred faults with headers are far smaller.
const maxControlBody = 1 << 20

// Requests returns the newest requests received, oldest first. Control requests are not among them.
func (s *Sandbox) Requests() []Request { return s.recorder.Requests() }

// Recorder is the log of requests.
func (s *Sandbox) Recorder() *Recorder { return s.recorder }

// Faults is what goes wrong, to be changed while it runs.
func (s *Sandbox) Faults() *Faults { return s.faults }

// Limits counts requests, to be changed while it runs.
func (s *Sandbox) Limits() *Limits { return s.limits }

// withControl serves the switches under /_sandbox/, for tests of a process that they cannot call into, and leaves every
// other path to next. The switches answer loopback only: they are as powerful as the process's command line.
//
//	GET, DELETE              /_sandbox/requests   the log: read, forget
//	GET, POST, PUT, DELETE   /_sandbox/faults     array of rules as text (see ParseFault): read, add, replace, remove
//	PUT                      /_sandbox/delay      {"latency": "50ms", "jitter": "10ms"}
//	GET, PUT                 /_sandbox/limits     configuration and buckets; the configuration, forgetting every window
//	POST                     /_sandbox/spend      {"owner", "scope", "operation", "n"}: an outsider spends quota
func (s *Sandbox) withControl(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /_sandbox/requests", show(s.recorder.Requests))
	mux.Handle("DELETE /_sandbox/requests", do(s.recorder.Reset))
	mux.Handle("GET /_sandbox/faults", show(s.faults.Rules))
	mux.Handle("POST /_sandbox/faults", take(func(rules []Fault) error { return s.faults.Add(rules...) }))
	mux.Handle("PUT /_sandbox/faults", take(func(rules []Fault) error { return s.faults.Replace(rules...) }))
	mux.Handle("DELETE /_sandbox/faults", do(s.faults.Clear))
	mux.Handle("PUT /_sandbox/delay", take(func(d controlDelay) error {
		return s.faults.Delay(time.Duration(d.Latency), time.Duration(d.Jitter))
	}))
	mux.Handle("GET /_sandbox/limits", show(s.limits.control))
	mux.Handle("PUT /_sandbox/limits", take(func(c controlLimits) error { return s.limits.Set(c.config()) }))
	mux.Handle("POST /_sandbox/spend", take(func(b controlSpend) error {
		s.limits.Spend(b.Owner, b.Scope, b.Operation, b.N)
		return nil
	}))
	// A page in a browser on this machine is on loopback too; it may not operate the switches.
	guarded := loopbackOnly(http.NewCrossOriginProtection().Handler(mux))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_sandbox/") {
			guarded.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopbackOnly refuses whoever is elsewhere, or was led here by a name that is not this machine's (DNS rebinding).
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.RemoteAddr) || !isLoopback(r.Host) {
			writeMessage(w, http.StatusForbidden, "The sandbox's switches answer only on loopback.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback reports whether an address, with or without a port, is this machine's own.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// show answers what read returns.
func show[T any](read func() T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		json.NewEncoder(w).Encode(read()) // plain data; the client may be gone
	}
}

// do answers when the act is done.
func do(act func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		act()
		w.WriteHeader(http.StatusNoContent)
	}
}

// take hands apply a JSON body. Unknown fields are errors: a misspelt switch would let a test pass wrongly.
func take[T any](apply func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBody))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&body)
		if err == nil {
			err = apply(body)
		}
		if err != nil {
			writeMessage(w, http.StatusBadRequest, err.Error())
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}
