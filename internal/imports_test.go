package internal_test

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "corp.example/gateway/"

// allowed states which of our packages each room may import, beside the words that everybody speaks (shared). It is a
// statement of policy: a new line needs a reason.
var allowed = map[string][]string{
	"problem":     nil,
	"secret":      nil,
	"strictyaml":  nil,
	"clientaddr":  nil,
	"trust":       nil,
	"telemetry":   {"trust"},
	"catalog":     {"problem", "strictyaml"},
	"backplane":   {"secret", "trust"},
	"acme":        {"seal", "trust"}, // a private key leaves the process only sealed
	"seal":        {"secret"},
	"audit":       {"problem"},
	"state":       {"backplane"},                                       // replicas share it there
	"identity":    {"clientaddr", "problem", "seal", "state", "trust"}, // tokens and sessions are kept in the state, refresh tokens sealed
	"inventory":   {"catalog"},                                         // learns from answers of catalogued operations
	"credential":  {"catalog", "problem", "seal", "secret", "state"},   // covers operations; keeps OAuth tokens sealed in the state
	"limiter":     {"catalog", "problem"},                              // limits belong to operations' classes
	"cache":       {"backplane", "seal"},                               // its second level; knows neither operations nor callers nor answers to refusals
	"roster":      nil,                                                 // what replicas say of themselves in Redis, for people
	"policy":      {"catalog", "identity", "problem", "strictyaml"},    // decides about callers and operations
	"narrow":      {"catalog"},                                         // the shapes of lists
	"sandbox":     nil,                                                 // shares no code with what it tests
	"sandbox/idp": nil,
	"http1":       nil,
	"server":      {"clientaddr", "http1", "problem"},                                                                                                              // counts connections by client
	"config":      {"backplane", "catalog", "policy", "seal", "secret", "strictyaml", "trust"},                                                                     // whose checks it calls
	"portal":      {"audit", "catalog", "clientaddr", "identity", "limiter", "policy", "problem", "state", "strictyaml"},                                           // shows them
	"proxy":       {"audit", "cache", "catalog", "clientaddr", "credential", "identity", "inventory", "limiter", "narrow", "policy", "problem", "secret", "trust"}, // the line; scrubs secrets
}

// leavesAvoid are modules that only the rooms that count and trace may import: leaf packages return facts.
var leavesAvoid = map[string][]string{
	"github.com/prometheus/": {"telemetry", "server", "proxy"},
	"go.opentelemetry.io/":   {"telemetry", "server", "proxy"},
}

type listed struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	output, err := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(output))); decoder.More(); {
		var p listed
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
	return all
}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range packages(t) {
		room := strings.TrimPrefix(p.ImportPath, module+"internal/")
		rooms, known := allowed[room]
		if !known {
			t.Errorf("%s is a room without a line in this test: say what it may import, and why", room)
		}
		for _, ours := range rooms {
			if !slices.Contains(p.Imports, module+"internal/"+ours) {
				t.Errorf("%s does not import %s any more: take it off its line", room, ours)
			}
		}
		for _, imported := range p.Imports {
			if ours, found := strings.CutPrefix(imported, module+"internal/"); found && !slices.Contains(rooms, ours) {
				t.Errorf("%s imports %s: it may import %v only", room, ours, rooms)
			}
			for prefix, counting := range leavesAvoid {
				if strings.HasPrefix(imported, prefix) && !slices.Contains(counting, room) {
					t.Errorf("%s imports %s: it returns facts, and %v count them", room, imported, counting)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		documented := slices.ContainsFunc(p.GoFiles, func(name string) bool {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			return file.Doc != nil
		})
		if !documented {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
