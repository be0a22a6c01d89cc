package portal

import (
	"cmp"
	"net/http"
	"strings"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/problem"
)

// question is a "may I …?".
type question struct{ Method, Path, Team string }

func questionOf(r *http.Request) question {
	query := r.URL.Query()
	return question{
		Method: strings.ToUpper(strings.TrimSpace(query.Get("method"))), Path: strings.TrimSpace(query.Get("path")), Team: query.Get("team"),
	}
}

// answer is what the policy says to a question. Its form is that of /-/api/explain.
type answer struct {
	Method    string   `json:"method"`
	Path      string   `json:"path"`
	Operation string   `json:"operation"`
	Target    target   `json:"target"`
	Allow     bool     `json:"allow"`
	Team      string   `json:"team,omitempty"`
	Rule      string   `json:"rule,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Missing   []string `json:"missing,omitempty"`
	Effect    string   `json:"effect,omitempty"`
	Needs     []string `json:"needs,omitempty"`
	Teams     []string `json:"teams"`
	Steps     []step   `json:"steps"`
	Shadow    string   `json:"shadow,omitempty"`    // the shadow rule that would decide otherwise
	ReadOnly  string   `json:"read_only,omitempty"` // the body field that makes it a read
	AsRead    bool     `json:"as_read,omitempty"`   // what a call with that field is answered
	Unknown   []string `json:"unknown,omitempty"`   // facts that could change the answer and are not known here
}

type target struct {
	Kind         string `json:"kind"`
	Project      string `json:"project,omitempty"`
	Organization string `json:"organization,omitempty"`
	Parent       string `json:"parent,omitempty"`
}

// step is what one rule has to say.
type step struct {
	Rule string `json:"rule"`
	Kind string `json:"kind"` // allow, deny, shadow allow, shadow deny
	Says string `json:"says"`
}

// explain answers a question as the gateway would answer the call. What is wrong with the question is a *problem.Error
// of the catalogue's.
func (p *Portal) explain(v *visit, q question) (*answer, error) {
	path := pathOf(q.Path)
	if !strings.HasPrefix(path, "/") {
		return nil, invalidQuery("%.100q is no path: it begins with a slash, as in /v1/projects, or is a whole address.", q.Path)
	}
	call, err := p.config.Catalog.Parse(cmp.Or(q.Method, http.MethodGet), path)
	if err != nil {
		return nil, err
	}
	request := policy.Request{Op: call.Op, Target: targetOf(call.Target)}
	if p.config.Resolve != nil {
		if request.Target, err = p.config.Resolve(v.r.Context(), v.caller, q.Team, &call); err != nil {
			return nil, err
		}
	}
	e := v.rules.Explain(v.caller, q.Team, request, v.now)
	d := e.Decision
	found := &answer{
		Method: call.Method, Path: call.RequestURI(), Operation: call.Op.ID,
		Target: target{Kind: kindOf(request.Target.Kind), Project: request.Target.Project, Organization: request.Target.Organization, Parent: request.Target.Parent},
		Allow:  d.Allow, Team: d.Team, Rule: d.Rule, Reason: d.Reason, Missing: d.Missing, Effect: e.Effect, Needs: e.Needs,
		Teams: nonNil(e.Teams), Steps: steps(e.Steps), Shadow: d.Shadow.Rule, Unknown: p.unknown(v, q.Team, request),
	}
	if call.Op.ReadOnlyIf != "" {
		asRead := request
		asRead.Effect = catalog.Read
		found.ReadOnly, found.AsRead = call.Op.ReadOnlyIf, v.rules.Decide(v.caller, q.Team, asRead, v.now).Allow
	}
	return found, nil
}

// pathOf is the path and query of what was asked about: people paste whole addresses, of the gateway or of Supabase.
func pathOf(asked string) string {
	_, rest, whole := strings.Cut(asked, "://")
	if !whole || strings.HasPrefix(asked, "/") {
		return asked
	}
	_, path, _ := strings.Cut(rest, "/")
	return "/" + path
}

// unknown names the facts that could change the answer.
func (p *Portal) unknown(v *visit, team string, request policy.Request) []string {
	if request.Target.Resolved {
		return nil
	}
	wants := v.rules.Wants(v.caller, team, request, v.now)
	var facts []string
	if wants.Organization {
		facts = append(facts, "which organization it is in")
	}
	if wants.Project {
		facts = append(facts, "which project it belongs to")
	}
	if wants.Parent {
		facts = append(facts, "whose branch it is")
	}
	return facts
}

func targetOf(named catalog.Target) policy.Target {
	found := policy.Target{Kind: named.Kind}
	switch named.Kind {
	case catalog.Project:
		found.Project = named.ID
	case catalog.Organization:
		found.Organization = named.ID
	}
	return found
}

func kindOf(kind catalog.Kind) string {
	if kind == 0 {
		return ""
	}
	return kind.String()
}

func steps(said []policy.Step) []step {
	found := make([]step, 0, len(said))
	for _, s := range said {
		kind := "allow"
		if s.Deny {
			kind = "deny"
		}
		if s.Trial {
			kind = "shadow " + kind
		}
		found = append(found, step{s.Rule, kind, s.Says})
	}
	return found
}

// asked tells a fault in the question, which the page shows beside it, from one of the gateway's.
func asked(err error) (message string, soft bool) {
	fault := problem.From(err)
	return fault.Message, fault.Status < 500
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
