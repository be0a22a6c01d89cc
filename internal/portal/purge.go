package portal

import (
	"fmt"
	"iter"
	"net/http"
	"strings"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/strictyaml"
)

// purgeRequest says which cached answers to forget: those of a project, those of an operation, or all.
type purgeRequest struct {
	Project    string `json:"project"`
	Operation  string `json:"operation"`
	Everything bool   `json:"everything"`
}

// purge is the form of the administrators' page.
func (p *Portal) purge(v *visit) error {
	if err := v.adminOnly(); err != nil {
		return err
	}
	asked := purgeRequest{
		Project: strings.TrimSpace(v.r.PostForm.Get("project")), Operation: strings.TrimSpace(v.r.PostForm.Get("operation")),
		Everything: v.r.PostForm.Get("everything") == "yes",
	}
	if fault := p.purgeFault(asked); fault != "" {
		return p.showAdmin(v, http.StatusBadRequest, adminView{Purge: asked, PurgeFault: fault})
	}
	if _, err := p.purgeRecorded(v, asked, http.StatusSeeOther); err != nil {
		return err
	}
	return v.redirect(adminPath + "?done=purged#cache")
}

// apiPurge is the same for programs. The answer counts what the replica that was asked held in memory.
func (p *Portal) apiPurge(v *visit) error {
	if err := v.adminOnly(); err != nil {
		return err
	}
	var asked purgeRequest
	if err := v.decode(&asked); err != nil {
		return err
	}
	if fault := p.purgeFault(asked); fault != "" {
		return problem.New(http.StatusBadRequest, problem.BadRequest, "%s", fault)
	}
	forgotten, err := p.purgeRecorded(v, asked, http.StatusOK)
	if err != nil {
		return err
	}
	return v.json(http.StatusOK, map[string]int{"forgotten": forgotten})
}

// purgeFault says what is wrong with a request, "" where nothing is.
func (p *Portal) purgeFault(asked purgeRequest) string {
	switch {
	case asked.Everything && asked.Project+asked.Operation == "":
		return ""
	case asked.Everything || (asked.Project == "") == (asked.Operation == ""):
		return "Name a project or an operation, one of the two."
	case asked.Project != "":
		if call, err := p.config.Catalog.Parse(http.MethodGet, "/v1/projects/"+asked.Project); err != nil || call.Target.ID != asked.Project {
			return fmt.Sprintf("%.100q is no project reference: it is the word of twenty letters in the project's address.", asked.Project)
		}
	case p.config.Catalog.Lookup(asked.Operation) == nil:
		suggestion := ""
		if near := strictyaml.Nearest(asked.Operation[:min(len(asked.Operation), 100)], p.operationIDs()); near != "" {
			suggestion = " Did you mean " + near + "?"
		}
		return fmt.Sprintf("There is no operation %.100q in the catalogue.%s", asked.Operation, suggestion)
	}
	return ""
}

// operationIDs are those of the catalogue.
func (p *Portal) operationIDs() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, op := range p.config.Catalog.Operations() {
			if !yield(op.ID) {
				return
			}
		}
	}
}

// purgeRecorded does it, on all replicas, and returns how many answers went here.
func (p *Portal) purgeRecorded(v *visit, asked purgeRequest, status int) (forgotten int, err error) {
	c := change{operation: cachePurged, rule: ruleAdmin, target: accountTarget(), status: status, detail: "everything"}
	switch {
	case asked.Project != "":
		c.detail, c.target = "project "+asked.Project, audit.Target{Kind: catalog.Project.String(), Project: asked.Project}
	case asked.Operation != "":
		c.detail = "operation " + asked.Operation
	}
	c.do = func(c *change) error {
		forgotten = p.config.Purge(asked.Project, asked.Operation)
		c.detail = fmt.Sprintf("%s: %s", c.detail, answers(forgotten))
		return nil
	}
	if err := p.recorded(v, c); err != nil {
		return 0, err
	}
	p.config.Log.Info("cache purged", "request_id", v.id(), "project", asked.Project, "operation", asked.Operation, "by_issuer", v.caller.Issuer, "by_subject", v.caller.Subject)
	return forgotten, nil
}

func answers(n int) string { return count(n, "answer") + " forgotten" }
