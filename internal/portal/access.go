package portal

import (
	"net/http"

	"corp.example/gateway/internal/policy"
)

// maxListed is how many operations of a grant are listed by name: a grant for everything would fill the page.
const maxListed = 60

// accessView is the page of what one may do.
type accessView struct {
	Access policy.Access
	Ask    question
	Answer *answer
	Fault  string // why the question cannot be answered
	Teams  []string
	Names  names

	Organizations, Projects []reach
	One                     *reach // the project or organization that is asked about

	Contact string // whom somebody without a team should ask
}

func (p *Portal) access(v *visit) error {
	view := accessView{Access: v.rules.Access(v.caller, v.now), Teams: v.rules.Teams(v.caller), Ask: questionOf(v.r), Names: p.names(v), Contact: v.rules.Contact()}
	survey := p.survey(v)
	defer survey.done()
	view.One = survey.asked(view.Names)
	view.Organizations, view.Projects = survey.all(view.Names, view.Access)
	if view.Ask.Path != "" {
		found, err := p.explain(v, view.Ask)
		if err != nil {
			fault, soft := asked(err)
			if !soft {
				return err
			}
			view.Fault = fault
		}
		view.Answer = found
	}
	if view.Ask.Method == "" {
		view.Ask.Method = http.MethodGet
	}
	return p.show(v, http.StatusOK, "access", "Access", view)
}

// Methods are those the catalogue has.
func (accessView) Methods() []string {
	return []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead}
}

// Unshown counts what a list of names has beyond what the page shows.
func (accessView) Unshown(all []named) int { return max(0, len(all)-maxNamed) }

// Listed is the part of a list that is shown, and Unlisted how many are not.
func (accessView) Listed(all []string) []string { return all[:min(len(all), maxListed)] }

// Unlisted counts the rest of what Listed returns.
func (accessView) Unlisted(all []string) int { return max(0, len(all)-maxListed) }
