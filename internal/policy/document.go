package policy

import (
	"gopkg.in/yaml.v3"

	"corp.example/gateway/internal/catalog"
)

// document is policy.yaml as it is written. docs/policy.md describes each key.
type document struct {
	Contact string              `yaml:"contact"` // whom a refused caller should ask where the team says nothing
	Sets    map[string][]string `yaml:"sets"`    // named lists, used as $name inside the lists of grants
	Teams   []teamDoc           `yaml:"teams"`
	Tests   []testDoc           `yaml:"tests"`
}

type teamDoc struct {
	Name    string      `yaml:"name"`
	Contact string      `yaml:"contact"` // whom a refused member should ask
	Members []memberDoc `yaml:"members"`
	Weight  *int        `yaml:"weight"` // share of a contended bucket; left out: 1
	Admin   bool        `yaml:"admin"`  // may administer the gateway
	Allow   []grantDoc  `yaml:"allow"`
	Deny    []grantDoc  `yaml:"deny"`
}

// memberDoc is one of: a group, an e-mail address, or claims of one issuer's tokens.
type memberDoc struct {
	Group  string              `yaml:"group"`
	Email  string              `yaml:"email"`
	Issuer string              `yaml:"issuer"` // with group or email: left out means any issuer
	Claims map[string]textList `yaml:"claims"`
}

type grantDoc struct {
	Projects      []string         `yaml:"projects"`
	Organizations []string         `yaml:"organizations"`
	Account       bool             `yaml:"account"`
	Branches      *bool            `yaml:"branches"` // left out: false in an allow, true in a deny
	Scopes        []string         `yaml:"scopes"`
	Permissions   []string         `yaml:"permissions"`
	Operations    []string         `yaml:"operations"`
	Effects       []catalog.Effect `yaml:"effects"` // left out: all
	Until         string           `yaml:"until"`
	Shadow        bool             `yaml:"shadow"`
}

type testDoc struct {
	As           asDoc  `yaml:"as"`
	Team         string `yaml:"team"`         // as X-Gateway-Team names it
	Call         string `yaml:"call"`         // "GET /v1/projects/…"
	Want         string `yaml:"want"`         // allow or deny
	Project      string `yaml:"project"`      // fact: the snippet's project, or the branch's own
	Parent       string `yaml:"parent"`       // fact: the branch's parent project
	Organization string `yaml:"organization"` // fact: the organization the project is in, or the body names
	ReadOnly     bool   `yaml:"read_only"`    // fact: the body says it only reads
	At           string `yaml:"at"`           // when; left out: before any grant ends
}

// asDoc describes the caller of a test.
type asDoc struct {
	Group  textList            `yaml:"group"`
	Email  string              `yaml:"email"`
	Issuer string              `yaml:"issuer"`
	Claims map[string]textList `yaml:"claims"`
	Team   string              `yaml:"team"` // a token created for this team on the command line
}

// textList is a list of texts that may be written as one text.
type textList []string

// UnmarshalYAML reads one scalar or a list of them. A claim's true or 42 is taken as it is written.
func (l *textList) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*l = textList{node.Value}
		return nil
	}
	var list []string
	if err := node.Decode(&list); err != nil {
		return err
	}
	*l = list
	return nil
}
