package portal

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/policy"
)

// bucket is one rate-limit bucket as the visitor may see it. Its form is that of /-/api/quota.
type bucket struct {
	Owner     string         `json:"owner,omitempty"` // the credential's; for administrators
	Scope     string         `json:"scope"`
	Name      string         `json:"name,omitempty"` // what the project or organization is called
	Class     string         `json:"class"`
	Operation string         `json:"operation,omitempty"` // "" where the whole class shares one count
	Limit     int            `json:"limit"`
	Period    float64        `json:"period_seconds"`
	Remaining int            `json:"remaining"`
	Reset     float64        `json:"reset_seconds"` // until the next window begins; 0: none is running
	Held      bool           `json:"held"`          // upstream answered 429, and nothing goes until then
	Outsiders int            `json:"outsiders"`     // spent by others than the gateway
	Waiting   map[string]int `json:"waiting"`       // requests by team: the visitor's, for administrators all
	Others    int            `json:"waiting_others"`
	Queue     []waiting      `json:"queue,omitempty"`         // the first of these requests in line, the longest wait first
	Waits     []float64      `json:"waits_seconds,omitempty"` // the longest wait in each of the last minutes, the present one last; none: nobody waited
}

// waiting is one request in a queue.
type waiting struct {
	Team      string  `json:"team"`
	Operation string  `json:"operation"`
	Since     float64 `json:"since_seconds"`
	Batch     bool    `json:"batch,omitempty"` // it lets others go first
}

// SinceText says how long it has waited.
func (w waiting) SinceText() string { return seconds(w.Since) }

// PeriodText and ResetText are for people.
func (b bucket) PeriodText() string { return seconds(b.Period) }

// ResetText says when the next window begins.
func (b bucket) ResetText() string { return seconds(b.Reset) }

// seconds writes a time as people say it, rounded up: coming back early is no use.
func seconds(s float64) string {
	switch n := int(math.Ceil(s)); {
	case n == 60:
		return "1 minute"
	case n <= 120:
		return count(n, "second")
	case n <= 2*60*60:
		return count((n+59)/60, "minute")
	default:
		return count((n+60*60-1)/(60*60), "hour")
	}
}

// Low is where the gauge begins to warn: the last fifth.
func (b bucket) Low() int { return (b.Limit + 4) / 5 }

// Total is how many wait, whoever they are.
func (b bucket) Total() int {
	total := b.Others
	for _, n := range b.Waiting {
		total += n
	}
	return total
}

// WaitingText says who waits.
func (b bucket) WaitingText() string {
	var parts []string
	for _, team := range slices.Sorted(maps.Keys(b.Waiting)) {
		parts = append(parts, fmt.Sprintf("%s %d", team, b.Waiting[team]))
	}
	if b.Others > 0 {
		parts = append(parts, fmt.Sprintf("other teams %d", b.Others))
	}
	return strings.Join(parts, ", ")
}

// quotaView is the page of quotas, one group for each scope.
type quotaView struct {
	Groups []bucketGroup
	Admin  bool
	Now    time.Time
}

type bucketGroup struct {
	Owner, Scope, Name string
	Buckets            []bucket
}

func (p *Portal) quota(v *visit) error {
	view := quotaView{Admin: v.rules.Admin(v.caller), Now: v.now}
	for _, b := range p.buckets(v) {
		last := len(view.Groups) - 1
		if last < 0 || view.Groups[last].Scope != b.Scope || view.Groups[last].Owner != b.Owner {
			view.Groups = append(view.Groups, bucketGroup{Owner: b.Owner, Scope: b.Scope, Name: b.Name})
			last++
		}
		view.Groups[last].Buckets = append(view.Groups[last].Buckets, b)
	}
	return p.show(v, http.StatusOK, "quota", "Quota", view)
}

func (p *Portal) apiQuota(v *visit) error {
	if _, err := v.parameters(); err != nil {
		return err
	}
	return v.json(http.StatusOK, map[string]any{"buckets": append([]bucket{}, p.buckets(v)...)})
}

// buckets are those the visitor may see: of what they may read, and the account's for every member of a team.
func (p *Portal) buckets(v *visit) []bucket {
	teams, admin := v.rules.Teams(v.caller), v.rules.Admin(v.caller)
	sight := sight{portal: p, visit: v, known: map[string]bool{}, lookUps: maxLookUps}
	known := p.names(v)
	var shown []bucket
	for _, state := range p.config.Quota() {
		if admin || sight.sees(state.Scope) {
			b := bucketOf(state, teams, admin)
			b.Name = known.Scope(state.Scope)
			shown = append(shown, b)
		}
	}
	return shown
}

func bucketOf(state limiter.BucketState, teams []string, admin bool) bucket {
	b := bucket{
		Scope: state.Scope, Class: state.Class, Operation: state.Operation,
		Limit: state.Limit, Period: state.Period.Seconds(), Remaining: state.Remaining, Reset: state.Reset.Seconds(),
		Held: state.Held, Outsiders: state.Outsiders, Waiting: map[string]int{},
	}
	if admin {
		b.Owner = state.Owner
	}
	mine := make(map[string]bool, len(teams))
	for _, team := range teams {
		mine[team] = true
	}
	for team, n := range state.Waiting {
		if admin || mine[team] {
			b.Waiting[team] = n
		} else {
			b.Others += n // who else is busy is not theirs to know
		}
	}
	for _, request := range state.Queue {
		if admin || mine[request.Team] {
			b.Queue = append(b.Queue, waiting{request.Team, request.Operation, request.Since.Seconds(), request.Batch})
		}
	}
	for _, wait := range state.Waits {
		b.Waits = append(b.Waits, wait.Seconds())
	}
	return b
}

// maxLookUps bounds what one view of the page may ask of upstream: the page must not spend the quota it shows.
const maxLookUps = 20

// sight answers which scopes a visitor sees, each once.
type sight struct {
	portal  *Portal
	visit   *visit
	known   map[string]bool
	lookUps int
}

func (s *sight) sees(scope string) bool {
	sees, known := s.known[scope]
	if !known {
		sees = s.mayRead(scope)
		s.known[scope] = sees
	}
	return sees
}

// mayRead reports whether the visitor may read what a scope is about. What cannot be found out is not shown.
func (s *sight) mayRead(scope string) bool {
	v := s.visit
	kind, id, _ := strings.Cut(scope, ":")
	path := ""
	switch kind {
	case "account":
		return v.rules.Member(v.caller)
	case "project":
		path = "/v1/projects/" + id
	case "organization":
		path = "/v1/organizations/" + id
	}
	call, err := s.portal.config.Catalog.Parse(http.MethodGet, path)
	if err != nil {
		return false
	}
	request := policy.Request{Op: call.Op, Target: targetOf(call.Target)}
	if v.rules.Decide(v.caller, "", request, v.now).Allow {
		return true
	}
	if s.portal.config.Resolve == nil || s.lookUps == 0 || v.rules.Wants(v.caller, "", request, v.now).None() {
		return false
	}
	s.lookUps--
	if request.Target, err = s.portal.config.Resolve(v.r.Context(), v.caller, "", &call); err != nil {
		s.lookUps = 0 // upstream is in trouble, and asking it more would only wait
		return false
	}
	return v.rules.Decide(v.caller, "", request, v.now).Allow
}
