package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is one thing that must be well for the gateway to be ready.
type Check struct {
	Name string
	// Ready returns nil, or what is wrong. It must answer at once: the prober waits.
	Ready func() error
	// Detail: not being well is shown, but does not take the gateway out of service.
	Detail bool
}

// AdminHandler serves what operators and their tools look at.
func AdminHandler(metrics prometheus.Gatherer, level *slog.LevelVar, checks ...Check) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { writeReadiness(w, r.URL.Query()["exclude"], checks) })
	mux.HandleFunc("GET /log/level", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, strings.ToLower(level.Level().String())) })
	mux.HandleFunc("PUT /log/level", func(w http.ResponseWriter, r *http.Request) { setLevel(w, r, level) })
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// setLevel changes how much is logged, until the next start.
func setLevel(w http.ResponseWriter, r *http.Request, level *slog.LevelVar) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 64))
	if err == nil {
		err = level.UnmarshalText(bytes.TrimSpace(text))
	}
	if err != nil {
		http.Error(w, "want debug, info, warn or error as the body", http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, strings.ToLower(level.Level().String()))
}

// writeReadiness answers 200 with every check's state, or 503 where one that matters is not well. One that the prober
// excludes by name is shown only.
func writeReadiness(w http.ResponseWriter, excluded []string, checks []Check) {
	status := http.StatusOK
	states := make(map[string]string, len(checks))
	for _, check := range checks {
		states[check.Name] = "ok"
		if err := check.Ready(); err != nil {
			states[check.Name] = err.Error()
			if !check.Detail && !slices.Contains(excluded, check.Name) {
				status = http.StatusServiceUnavailable
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(states) // the prober may have left
}
