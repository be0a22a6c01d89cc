package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (s *Sandbox) analyticsRoutes() []route {
	const base = "/v1/projects/{ref}/analytics/endpoints"
	return []route{
		op("v1-get-project-logs", "GET "+base+"/logs.all", 200, s.getAllLogs),
		op("v1-get-project-unified-logs", "GET "+base+"/logs", 200, s.getLogs),
		op("v1-get-project-usage-api-count", "GET "+base+"/usage.api-counts", 200, fixed("usage-api-counts")),
		op("v1-get-project-usage-request-count", "GET "+base+"/usage.api-requests-count", 200, fixed("usage-api-requests-count")),
		op("v1-get-project-function-combined-stats", "GET "+base+"/functions.combined-stats", 200, fixed("functions-combined-stats")),
		op("v1ScrapeProjectMetrics", "GET "+base+"/metrics", 200, s.getMetrics),
		op("v1-get-performance-advisors", "GET /v1/projects/{ref}/advisors/performance", 200, fixed("advisors-performance")),
		op("v1-get-security-advisors", "GET /v1/projects/{ref}/advisors/security", 200, fixed("advisors-security")),
		op("v1-list-action-runs", "GET /v1/projects/{ref}/actions", 200, s.listRuns),
		op("v1-count-action-runs", "HEAD /v1/projects/{ref}/actions", 200, s.countRuns),
		op("v1-get-action-run", "GET /v1/projects/{ref}/actions/{run_id}", 200, getItem("actions", "run_id", "Action run")),
		op("v1-get-action-run-logs", "GET /v1/projects/{ref}/actions/{run_id}/logs", 200, s.getRunLogs),
		op("v1-update-action-run-status", "PATCH /v1/projects/{ref}/actions/{run_id}/status", 200, s.updateRun),
	}
}

// logWindow is the longest span of time one query may ask about.
const logWindow = 24 * time.Hour

// span reads which time a query is about: the last minute where it does not say.
func (c *call) span(now time.Time) (start, end time.Time, err error) {
	start, end = now.Add(-time.Minute), now
	query := c.URL.Query()
	for name, at := range map[string]*time.Time{"iso_timestamp_start": &start, "iso_timestamp_end": &end} {
		value := query.Get(name)
		if value == "" {
			continue
		}
		if *at, err = time.Parse(time.RFC3339, value); err != nil {
			return start, end, refuse(http.StatusBadRequest, "%s: Invalid datetime", name)
		}
	}
	if end.Sub(start) > logWindow {
		return start, end, refuse(http.StatusBadRequest, "The timestamp range must be no more than 24 hours")
	}
	return start, end, nil
}

// getAllLogs is the older operation. Upstream has taken it away; both times can be played.
func (s *Sandbox) getAllLogs(c *call) (any, error) {
	if s.config.Logs410 {
		return nil, refuse(http.StatusGone, "This endpoint has been removed. Use GET /v1/projects/{ref}/analytics/endpoints/logs instead.")
	}
	return s.getLogs(c)
}

// getLogs answers with three lines of the source that the query names, spread over its time.
func (s *Sandbox) getLogs(c *call) (any, error) {
	start, end, err := c.span(time.Now())
	if err != nil {
		return nil, err
	}
	sql := c.URL.Query().Get("sql")
	sources := []string{"edge_logs", "postgres_logs", "auth_logs", "storage_logs", "realtime_logs", "function_edge_logs", "function_logs", "workflow_run_logs"}
	source := "edge_logs"
	if i := slices.IndexFunc(sources, func(name string) bool { return strings.Contains(sql, name) }); i >= 0 {
		source = sources[i]
	}
	rows := []doc{}
	for i := range 3 {
		at := end.Add(-time.Duration(i+1) * end.Sub(start) / 4)
		rows = append(rows, doc{
			"id": idOf(fmt.Sprint(source, c.project.ref, at.Unix())), "timestamp": at.UTC().Format(time.RFC3339Nano),
			"event_message": fmt.Sprintf("%s line %d of %s", source, 3-i, c.project.ref), "source": source, "identifier": c.project.ref,
			// What the well-known clients select besides.
			"ts_ms": at.UnixMilli(), "level": "info", "severity_text": "INFO", "log_attributes": doc{"identifier": c.project.ref},
		})
	}
	return doc{"result": rows}, nil
}

// getMetrics answers in Prometheus' own format.
func (s *Sandbox) getMetrics(c *call) (any, error) {
	return text(fmt.Sprintf("# HELP pg_up Whether the database is up.\n# TYPE pg_up gauge\npg_up{supabase_project_ref=%q} 1\n", c.project.ref)), nil
}

func (s *Sandbox) listRuns(c *call) (any, error) {
	runs := c.project.list("actions")
	start := min(c.number("offset", 0), len(runs))
	return append([]doc{}, runs[start:min(start+c.number("limit", 10), len(runs))]...), nil
}

func (s *Sandbox) countRuns(c *call) (any, error) { return count(len(c.project.list("actions"))), nil }

func (s *Sandbox) getRunLogs(c *call) (any, error) {
	if _, err := c.project.listed("actions", c.PathValue("run_id"), "Action run"); err != nil {
		return nil, err
	}
	return text("Cloning repository…\nApplying migration 20260114091500_create_customers.sql…\nFinished.\n"), nil
}

// updateRun sets the status of the steps that the body names.
func (s *Sandbox) updateRun(c *call) (any, error) {
	found, err := c.project.listed("actions", c.PathValue("run_id"), "Action run")
	if err != nil {
		return nil, err
	}
	var changes map[string]string
	if err := c.decode(&changes); err != nil {
		return nil, err
	}
	steps, _ := found["run_steps"].([]any)
	for _, step := range steps {
		if d, ok := step.(doc); ok && changes[d["name"].(string)] != "" {
			d["status"] = changes[d["name"].(string)]
		}
	}
	return done(c)
}
