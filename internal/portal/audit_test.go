package portal_test

import (
	"encoding/csv"
	"encoding/json"
	"html"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/portal"
)

// records are the requests of the log: what each is, and whose.
var records = []audit.Record{
	{RequestID: "ada-read", Caller: audit.Caller{Kind: "person", Issuer: "corp", Subject: "ada", Email: "ada@acme.example"}, Team: "payments",
		Operation: "v1-get-project", Method: "GET", Path: "/v1/projects/" + payments, Target: audit.Target{Kind: "project", Project: payments},
		Decision: audit.Decision{Allow: true, Rule: "policy.yaml:8 teams[0].allow[0]"}, Status: 200, Outcome: "ok",
		Client: audit.Client{IP: netip.MustParseAddr("192.0.2.7"), UserAgent: "=HYPERLINK(\"https://evil.example\")"}},
	{RequestID: "ada-write", Caller: audit.Caller{Kind: "token", Issuer: "corp", Subject: "ada", Email: "ada@acme.example", Token: "t0ken"}, Team: "payments",
		Operation: "v1-pause-a-project", Method: "POST", Path: "/v1/projects/" + payments + "/pause", Target: audit.Target{Kind: "project", Project: payments},
		Decision: audit.Decision{Rule: "policy.yaml:11 teams[0].deny[0]", Reason: "Team payments is denied."}, Status: 403, Outcome: "denied"},
	{RequestID: "grace-read", Caller: audit.Caller{Kind: "person", Issuer: "corp", Subject: "grace", Email: "grace@acme.example"}, Team: "platform",
		Operation: "v1-list-all-projects", Method: "GET", Path: "/v1/projects", Target: audit.Target{Kind: "account"}, Decision: audit.Decision{Allow: true}, Status: 200, Outcome: "ok"},
	{RequestID: "twin-read", Caller: audit.Caller{Kind: "person", Issuer: "elsewhere", Subject: "ada"}, Operation: "v1-get-project", Method: "GET",
		Path: "/v1/projects/" + billing, Target: audit.Target{Kind: "project", Project: billing}, Decision: audit.Decision{Allow: true}, Status: 200, Outcome: "ok"},
	{RequestID: "stranger", Method: "GET", Path: "/v1/projects", Status: 401, Outcome: "unauthenticated"},
}

// withAudit gives the portal a log of the records; writes have their intent in it too.
func withAudit(t *testing.T) func(*portal.Config) {
	t.Helper()
	dir := t.TempDir()
	log, err := audit.Open(audit.Config{Sinks: []audit.Sink{{File: &audit.FileConfig{Dir: dir}, Required: true}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Method != http.MethodGet {
			if err := log.Intent(t.Context(), &r); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Outcome(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return func(c *portal.Config) { c.AuditLines = audit.Dir(dir).Lines }
}

func TestAuditSaysWhatItSearched(t *testing.T) {
	s := newStage(t, withAudit(t))
	linus := s.signIn(t, "linus")
	linus.get("/-/audit").wants(t, http.StatusOK, "UTC</time> on fits. Choose an earlier beginning.")
	linus.get("/-/audit?since=2001-01-01&until=2001-01-02").wants(t, http.StatusOK,
		">1 Jan 2001, 00:00 UTC</time> until <time", ">3 Jan 2001, 00:00 UTC</time> fits.", "or take a part of the filter away")
}

func TestWhoSeesWhichRequests(t *testing.T) {
	s := newStage(t, withAudit(t))
	for who, want := range map[string][]string{
		"ada":   {"ada-read", "ada-write"},
		"bob":   nil,
		"linus": nil,
		"grace": {"ada-read", "ada-write", "grace-read", "twin-read", "stranger"},
	} {
		b := s.signIn(t, who)
		views := map[string]answer{
			"page": b.get("/-/audit"), "CSV": b.get("/-/audit.csv"), "lines": b.get("/-/audit.jsonl"),
			"API":                  s.api(t, http.MethodGet, "/-/api/audit", s.bearer(who), ""),
			"asking for another's": b.get("/-/audit?actor=grace"), "asking for another's by API": s.api(t, http.MethodGet, "/-/api/audit?actor=grace&format=jsonl", s.bearer(who), ""),
		}
		for _, r := range records {
			may := slices.Contains(want, r.RequestID)
			one := b.get("/-/audit/" + r.RequestID)
			if shown := one.status == http.StatusOK; shown != may {
				t.Errorf("%s: the page of %s: status %d, want shown %v", who, r.RequestID, one.status, may)
			}
			for view, got := range views {
				if got.status != http.StatusOK {
					t.Errorf("%s, %s: status %d", who, view, got.status)
				}
				// Who= is an administrator's filter; to others it gives nothing more and takes nothing away.
				narrowed := who == "grace" && strings.HasPrefix(view, "asking for")
				if shown := strings.Contains(got.body, r.RequestID); shown != may && !narrowed {
					t.Errorf("%s, %s: %s shown is %v, want %v", who, view, r.RequestID, shown, may)
				}
			}
		}
	}
}

func TestAuditFilters(t *testing.T) {
	s := newStage(t, withAudit(t))
	grace := s.bearer("grace")
	tomorrow := time.Now().UTC().Add(24 * time.Hour).Format(time.DateOnly)
	today := time.Now().UTC().Format(time.DateOnly)
	for query, want := range map[string]string{
		"actor=grace@acme.example": "grace-read",
		"who=grace@acme.example":   "grace-read",          // the older name
		"actor=t0ken&status=403":   "ada-write ada-write", // the intent has the status it was to have
		"project=" + billing:       "twin-read",
		"operation=v1-get-project": "ada-read twin-read",
		"team=platform":            "grace-read",
		"decision=deny&team=":      "ada-write ada-write stranger",
		"status=401":               "stranger",
		"since=" + tomorrow:        "",
		"since=1h&team=platform":   "grace-read",
		"until=1h":                 "",
		"since=2020-01-01&until=" + today + "&team=platform": "grace-read", // the last day is meant whole
		"until=2020-01-01": "",
		"limit=1":          "stranger",
	} {
		got := decode[struct {
			Records []struct {
				RequestID string `json:"request_id"`
			}
		}](t, s.api(t, http.MethodGet, "/-/api/audit?"+query, grace, ""), http.StatusOK)
		var ids []string
		for _, r := range got.Records {
			ids = append(ids, r.RequestID)
		}
		if strings.Join(ids, " ") != want {
			t.Errorf("%s finds %q, want %q", query, strings.Join(ids, " "), want)
		}
	}
	for _, query := range []string{"since=yesterday", "status=x", "status=7", "decision=maybe", "limit=0", "limit=100000", "format=xml", "teem=platform", "since=2026-01-02&until=2026-01-01T00:00:00Z"} {
		s.api(t, http.MethodGet, "/-/api/audit?"+query, grace, "").wants(t, http.StatusBadRequest, `"code":"bad_request"`)
	}
	s.signIn(t, "ada").get("/-/audit?status=x").wants(t, http.StatusBadRequest, "is no status", `role="alert"`)
}

func TestLinksOfTheAuditPageKeepItsFilter(t *testing.T) {
	s := newStage(t, withAudit(t))
	b := s.signIn(t, "grace")
	page := b.get("/-/audit?actor=ada&status=403")
	for _, file := range []string{"/-/audit.csv?", "/-/audit.jsonl?"} {
		_, rest, found := strings.Cut(page.body, `href="`+file)
		query, _, _ := strings.Cut(rest, `"`)
		if !found {
			t.Fatalf("the page has no link to %s", file)
		}
		got := b.get(file + html.UnescapeString(query))
		got.wants(t, http.StatusOK, "ada-write")
		got.hides(t, "ada-read", "grace-read")
	}
}

func TestAuditPageOfAWrite(t *testing.T) {
	s := newStage(t, withAudit(t))
	page := s.signIn(t, "ada").get("/-/audit/ada-write?at=" + time.Now().UTC().Format(time.RFC3339))
	page.wants(t, http.StatusOK, "Intended", "Outcome", "Team payments is denied.", "with token", "t0ken", "/v1/projects/"+payments+"/pause", "403")
	s.signIn(t, "ada").get("/-/audit/ada-write?at=2020-01-01T00:00:00Z").wants(t, http.StatusNotFound, "no such request of yours")
}

func TestLimitedTokenSeesItsOwnRequestsOnly(t *testing.T) {
	s := newStage(t, withAudit(t))
	agent := s.signIn(t, "ada").mint("agent", map[string][]string{"project": {payments}})
	got := s.api(t, http.MethodGet, "/-/api/audit", agent, "")
	got.wants(t, http.StatusOK, `{"records":[]}`)
}

func TestExportIsWhatTheLogSays(t *testing.T) {
	s := newStage(t, withAudit(t))
	b := s.signIn(t, "ada")
	lines := b.get("/-/audit.jsonl")
	if kind := lines.header.Get("Content-Type"); kind != "application/x-ndjson" || !strings.Contains(lines.header.Get("Content-Disposition"), "audit.jsonl") {
		t.Errorf("type %s, %s", kind, lines.header.Get("Content-Disposition"))
	}
	for line := range strings.Lines(lines.body) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Caller.Subject != "ada" {
			t.Errorf("%v in line %s", err, line)
		}
	}
	table, err := csv.NewReader(strings.NewReader(b.get("/-/audit.csv").body)).ReadAll()
	if err != nil || len(table) != 4 { // the heading, a read, an intent and its outcome
		t.Fatalf("%d rows, %v", len(table), err)
	}
	empty := b.get("/-/audit.csv?project=nothing")
	if empty.status != http.StatusOK || strings.Count(empty.body, "\n") != 1 {
		t.Errorf("an export that finds nothing is %d %q, want the heading alone", empty.status, empty.body)
	}
	b.get("/-/audit.csv?status=x").wants(t, http.StatusBadRequest, "is no status")
}

func TestSpreadsheetFormulaInAUserAgent(t *testing.T) {
	s := newStage(t, withAudit(t))
	table, err := csv.NewReader(strings.NewReader(s.signIn(t, "grace").get("/-/audit.csv").body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range table {
		for _, cell := range row {
			if strings.HasPrefix(cell, "=") {
				t.Errorf("the cell %q would be run", cell)
			}
		}
	}
}

// TestNoDeadLinks follows every link that a page of ours shows.
func TestNoDeadLinks(t *testing.T) {
	s := newStage(t, withAudit(t), withQuota)
	b := s.signIn(t, "grace")
	seen := map[string]bool{}
	queue := []string{"/-/"}
	for len(queue) > 0 && len(seen) < 200 {
		path := queue[0]
		queue = queue[1:]
		if seen[path] || path == "/-/sign-out" {
			continue
		}
		seen[path] = true
		got := b.get(path)
		if got.status != http.StatusOK {
			t.Errorf("%s: status %d", path, got.status)
		}
		for part := range strings.SplitSeq(got.body, `href="`) {
			link, _, _ := strings.Cut(part, `"`)
			if strings.HasPrefix(link, "/") {
				queue = append(queue, strings.ReplaceAll(link, "&amp;", "&"))
			}
		}
	}
	for _, page := range []string{"/-/tokens", "/-/access", "/-/quota", "/-/audit", "/-/audit/grace-read", "/-/admin", "/-/profile.yaml"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(path string) bool { return strings.HasPrefix(path, page) }) {
			t.Errorf("no page links to %s", page)
		}
	}
}
