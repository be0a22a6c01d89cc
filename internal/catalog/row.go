package catalog

import (
	"bytes"
	_ "embed"
	"fmt"

	"corp.example/gateway/internal/strictyaml"
	"gopkg.in/yaml.v3"
)

// Row is one row of the table as it is written: in the embedded operations.yaml and under catalog.extra of the
// configuration. What is left out takes the value its comment names.
type Row struct {
	ID          string            `yaml:"id"`          // operation id, unique
	Method      string            `yaml:"method"`      // upper case
	Path        string            `yaml:"path"`        // template, for example "/v1/projects/{ref}"
	Params      map[string]string `yaml:"params"`      // path parameter → regular expression of its whole segment; well-known names may be left out
	Effect      Effect            `yaml:"effect"`      // read, write or destructive
	Target      Kind              `yaml:"target"`      // left out: what the first path parameter names, else account
	Scope       string            `yaml:"scope"`       // left out: upstream has no scope for it
	Permissions []string          `yaml:"permissions"` // alternatives; "a+b" needs both
	Assumed     bool              `yaml:"assumed"`     // scope and permissions are by analogy
	Limit       string            `yaml:"limit"`       // limit class; left out: default
	Cache       *RowCache         `yaml:"cache"`       // left out: never stored
	Secret      bool              `yaml:"secret"`      // the answer carries secrets
	SecretBody  []string          `yaml:"secret_body"` // the answer's secret fields; implies secret
	List        List              `yaml:"list"`        // how the answer is narrowed; left out: not a list of targets
	Touches     []string          `yaml:"touches"`     // parent, organization, account
	Repeat      []string          `yaml:"repeat"`      // query parameters that may stand more than once
	ReadOnlyIf  *RowReadOnlyIf    `yaml:"read_only_if"`
	BodyTarget  []string          `yaml:"body_target"` // body fields that name the organization
	Local       bool              `yaml:"local"`       // answered by the gateway
	Refused     string            `yaml:"refused"`     // why it is never forwarded
}

// RowCache is a row's cache rule.
type RowCache struct {
	TTL    strictyaml.Duration `yaml:"ttl"`    // how long an answer without freshness of its own may be kept; 0s: never stored
	Errors bool                `yaml:"errors"` // store error answers, too: any for as long as upstream says, 404, 405, 410, 414 and 501 else for ttl; left out: none
	Strict bool                `yaml:"strict"` // never serve an answer older than ttl, whatever upstream says and though it fails; left out: false
}

// RowReadOnlyIf says which boolean body field makes a call a read, and what it needs then.
type RowReadOnlyIf struct {
	Field       string   `yaml:"field"`
	Scope       string   `yaml:"scope"`
	Permissions []string `yaml:"permissions"`
}

// table is the shape of operations.yaml.
type table struct {
	Version    string                `yaml:"version"`    // year and month of upstream's specification, and our count within it
	Params     map[string]string     `yaml:"params"`     // the well-known path parameters and their patterns
	Classes    map[string][]rowLimit `yaml:"classes"`    // the limit classes
	Operations []Row                 `yaml:"operations"` // in the order of their paths
}

type rowLimit struct {
	N      int                 `yaml:"n"`
	Window strictyaml.Duration `yaml:"window"`
}

//go:embed operations.yaml
var operationsYAML []byte

// Default returns the rows of the embedded table.
func Default() []Row { return embedded().Operations }

// embedded decodes the table compiled into the program. A table that does not decode cannot leave the tests, so the
// panic is for whoever is editing it.
func embedded() table {
	decoder := yaml.NewDecoder(bytes.NewReader(operationsYAML))
	decoder.KnownFields(true)
	var t table
	if err := decoder.Decode(&t); err != nil {
		panic(fmt.Sprintf("embedded operations.yaml: %v", err))
	}
	return t
}
