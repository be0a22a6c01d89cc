package portal

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/strictyaml"
)

const (
	// maxSearches bounds how many searches read the log at a time: each reads files as fast as the disk gives them.
	maxSearches = 4
	// searchTime bounds one search, its answer's way to the client included.
	searchTime = time.Minute
	// auditPage is how many requests a page shows, and an answer of the API unless it asks otherwise.
	auditPage = 100
	// maxAuditRecords bounds an answer that is not streamed.
	maxAuditRecords = 1000
	// auditSpan is how far back is looked where no time is given.
	auditSpan = 7 * 24 * time.Hour
)

// auditQuery is a filter as it stands in an address.
type auditQuery struct {
	Since, Until                    string // a date or a time of RFC 3339, UTC, or a duration back from now
	Actor, Team, Project, Operation string // Actor and Team narrow an administrator's view
	Decision, Status                string
}

func auditQueryOf(values url.Values) auditQuery {
	get := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	return auditQuery{
		Since: get("since"), Until: get("until"), Team: get("team"), Project: get("project"), Operation: get("operation"),
		Decision: get("decision"), Status: get("status"),
		Actor: cmp.Or(get("actor"), get("who")), // who is its older name, which addresses that people keep may have
	}
}

// Encode is the query as it stands in an address. Its type keeps a page from escaping it once more, as one value.
func (q auditQuery) Encode() template.URL {
	values := url.Values{}
	for name, value := range map[string]string{
		"since": q.Since, "until": q.Until, "actor": q.Actor, "team": q.Team, "project": q.Project, "operation": q.Operation,
		"decision": q.Decision, "status": q.Status,
	} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return template.URL(values.Encode())
}

// filter turns a query into what the visitor may see of it: their own requests, for administrators everybody's.
func (q auditQuery) filter(v *visit) (audit.Filter, error) {
	f := audit.Filter{Actor: q.Actor, Team: q.Team, Project: q.Project, Operation: q.Operation, Decision: q.Decision}
	var err error
	if f.Since, err = moment(q.Since, "since", v.now); err != nil {
		return f, err
	}
	if f.Until, err = moment(q.Until, "until", v.now); err != nil {
		return f, err
	}
	if f.Since.IsZero() {
		f.Since = v.now.Add(-auditSpan)
		if !f.Until.IsZero() {
			f.Since = f.Until.Add(-auditSpan)
		}
	}
	if len(q.Until) == len(time.DateOnly) {
		f.Until = f.Until.Add(24 * time.Hour) // a day is meant whole
	}
	if q.Status != "" {
		if f.Status, err = strconv.Atoi(q.Status); err != nil || f.Status < 100 || f.Status > 599 {
			return f, invalidQuery("%.20q is no status: it is a number such as 403.", q.Status)
		}
	}
	switch {
	case q.Decision != "" && q.Decision != audit.DecisionAllow && q.Decision != audit.DecisionDeny:
		return f, invalidQuery("The decision is allow or deny, not %.20q.", q.Decision)
	case !f.Until.IsZero() && !f.Since.Before(f.Until):
		return f, invalidQuery("The end of the time must be after its beginning.")
	}
	return f, restrict(&f, v)
}

// restrict leaves in a filter only what the visitor may see. A token that was made for less than its owner's rights sees
// its own requests only.
func restrict(f *audit.Filter, v *visit) error {
	if v.rules.Admin(v.caller) {
		return nil
	}
	f.Issuer, f.Subject, f.Actor = v.caller.Issuer, v.caller.Subject, ""
	if limited(v.caller) {
		f.Actor = v.caller.Token
	}
	if f.Subject == "" { // would ask for everybody's
		return problem.New(http.StatusForbidden, problem.Denied, "Nobody's requests can be shown to a caller without a subject.")
	}
	return nil
}

// moment reads a date, a time, or a duration back from now.
func moment(text, name string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	var back strictyaml.Duration
	if back.UnmarshalText([]byte(text)) == nil {
		return now.Add(-time.Duration(back)), nil
	}
	return time.Time{}, invalidQuery("%s: %.40q is no time: write 24h or 30d, for so long ago, or 2026-03-31 or 2026-03-31T14:05:00Z.", name, text)
}

func invalidQuery(format string, args ...any) error {
	return problem.New(http.StatusBadRequest, problem.BadRequest, format, args...)
}

// search runs fn for each found line, with a place among those that may search.
func (p *Portal) search(v *visit, f audit.Filter, fn func(audit.Line) error) error {
	ctx, cancel := context.WithTimeout(v.r.Context(), searchTime)
	defer cancel()
	select {
	case p.searches <- struct{}{}:
		defer func() { <-p.searches }()
	case <-ctx.Done():
		return problem.New(http.StatusServiceUnavailable, problem.AuditUnavailable, "Too many searches of the audit log are running. Try again shortly.")
	}
	for line, err := range p.config.AuditLines(ctx, f) {
		if err != nil {
			return fmt.Errorf("searching the audit log: %w", err)
		}
		if err := fn(line); err != nil {
			return err
		}
	}
	return nil
}

// auditView is the page of requests.
type auditView struct {
	Query   auditQuery
	From    time.Time
	To      time.Time // zero: now
	Admin   bool
	Fault   string
	Records []audit.Record // newest first
	Older   template.URL   // the query of the next page, "" where there is none
	Teams   []string
	Names   names
}

func (p *Portal) audit(v *visit) error {
	view := auditView{Query: auditQueryOf(v.r.URL.Query()), Admin: v.rules.Admin(v.caller), Teams: v.rules.Teams(v.caller)}
	if view.Admin {
		view.Teams = v.rules.TeamNames()
	}
	f, err := view.Query.filter(v)
	view.From, view.To = f.Since, f.Until
	if err != nil {
		fault, soft := asked(err)
		if !soft {
			return err
		}
		view.Fault = fault
		return p.show(v, http.StatusBadRequest, "audit", "Audit", view)
	}
	f.Phase, f.Last = audit.Outcome, auditPage
	if err := p.search(v, f, func(line audit.Line) error { view.Records = append(view.Records, line.Record); return nil }); err != nil {
		return err
	}
	slices.Reverse(view.Records)
	view.Names = p.names(v)
	if len(view.Records) == auditPage {
		older := view.Query
		older.Since, older.Until = f.Since.Format(time.RFC3339), view.Records[auditPage-1].Time.Format(time.RFC3339Nano)
		view.Older = older.Encode()
	}
	return p.show(v, http.StatusOK, "audit", "Audit", view)
}

// auditRequest is the page of one request: what was intended and how it ended.
func (p *Portal) auditRequest(v *visit) error {
	f := audit.Filter{Request: v.parameter}
	if at, err := moment(v.r.URL.Query().Get("at"), "at", v.now); err == nil && !at.IsZero() {
		// Where the link says when it was, not all of the log needs reading. A request waits and works for minutes at most.
		f.Since, f.Until = at.Add(-time.Hour), at.Add(time.Hour)
	}
	if err := restrict(&f, v); err != nil {
		return err
	}
	var records []audit.Record
	err := p.search(v, f, func(line audit.Line) error {
		if len(records) < auditPage { // ids are ours and unique; a hand-made log is not believed
			records = append(records, line.Record)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return problem.New(http.StatusNotFound, problem.UnknownOperation, "The audit log has no such request of yours. A new one takes about a second to get there; old ones are removed when their time is over.")
	}
	return p.show(v, http.StatusOK, "auditrequest", "One request", records)
}

// apiAudit answers with the newest records of a filter, the oldest first, as they stand in the log; format=jsonl and
// format=csv are all of them.
func (p *Portal) apiAudit(v *visit) error {
	values, err := v.parameters("since", "until", "actor", "who", "team", "project", "operation", "decision", "status", "limit", "format")
	if err != nil {
		return err
	}
	switch values.Get("format") {
	case "jsonl":
		return p.auditLines(v)
	case "csv":
		return p.auditCSV(v)
	case "", "json":
	default:
		return invalidQuery("format: %.20q is not known: it is json, jsonl or csv.", values.Get("format"))
	}
	f, err := auditQueryOf(values).filter(v)
	if err != nil {
		return err
	}
	f.Last = auditPage
	if limit := values.Get("limit"); limit != "" {
		if f.Last, err = strconv.Atoi(limit); err != nil || f.Last < 1 || f.Last > maxAuditRecords {
			return invalidQuery("limit: a number from 1 to %d, not %.20q; format=jsonl has no limit.", maxAuditRecords, limit)
		}
	}
	records := []json.RawMessage{}
	if err := p.search(v, f, func(line audit.Line) error { records = append(records, line.Raw); return nil }); err != nil {
		return err
	}
	return v.json(http.StatusOK, map[string]any{"records": records})
}
