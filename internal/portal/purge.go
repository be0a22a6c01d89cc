package portal

import (
	"fmt"
	"net/http"
	"strings"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/catalog"
)

// purge forgets cached answers: those of a project, those of an operation, or all.
func (p *Portal) purge(v *visit) error {
	if err := v.adminOnly(); err != nil {
		return err
	}
	project, operation := strings.TrimSpace(v.r.PostForm.Get("project")), strings.TrimSpace(v.r.PostForm.Get("operation"))
	everything := v.r.PostForm.Get("everything") == "yes"
	asked := change{operation: cachePurged, rule: ruleAdmin, target: accountTarget(), status: http.StatusSeeOther}
	switch {
	case everything && project+operation == "":
		asked.detail = "everything"
	case everything || (project == "") == (operation == ""):
		return p.showAdmin(v, http.StatusBadRequest, "Name a project or an operation, one of the two.")
	case project != "":
		if call, err := p.config.Catalog.Parse(http.MethodGet, "/v1/projects/"+project); err != nil || call.Target.ID != project {
			return p.showAdmin(v, http.StatusBadRequest, fmt.Sprintf("%.100q is no project reference: it is the word of twenty letters in the project's address.", project))
		}
		asked.detail, asked.target = "project "+project, audit.Target{Kind: catalog.Project.String(), Project: project}
	case p.config.Catalog.Lookup(operation) == nil:
		return p.showAdmin(v, http.StatusBadRequest, fmt.Sprintf("There is no operation %.100q in the catalogue.", operation))
	default:
		asked.detail = "operation " + operation
	}
	asked.do = func(c *change) error {
		c.detail = fmt.Sprintf("%s: %s", c.detail, answers(p.config.Purge(project, operation)))
		return nil
	}
	if err := p.recorded(v, asked); err != nil {
		return err
	}
	p.config.Log.Info("cache purged", "request_id", v.id(), "project", project, "operation", operation, "by_issuer", v.caller.Issuer, "by_subject", v.caller.Subject)
	return v.redirect(adminPath + "?done=purged")
}

func answers(n int) string { return count(n, "answer") + " forgotten" }
