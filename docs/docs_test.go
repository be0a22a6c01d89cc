// Package docs_test holds the documentation to what the program has.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// goFiles parses the program's own files.
func goFiles(t *testing.T, do func(*ast.File)) {
	t.Helper()
	for _, root := range []string{"../internal", "../cmd"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err == nil {
				do(file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// constants are the values of the constants of a type in a package, by their names.
func constants(t *testing.T, inPackage, ofType string) map[string]string {
	t.Helper()
	found := map[string]string{}
	goFiles(t, func(file *ast.File) {
		ast.Inspect(file, func(node ast.Node) bool {
			spec, isSpec := node.(*ast.ValueSpec)
			if !isSpec || file.Name.Name != inPackage {
				return true
			}
			if name, isName := spec.Type.(*ast.Ident); isName && name.Name == ofType {
				for i, value := range spec.Values {
					found[spec.Names[i].Name], _ = strconv.Unquote(value.(*ast.BasicLit).Value)
				}
			}
			return true
		})
	})
	if len(found) < 15 {
		t.Errorf("found %d constants of type %s.%s: this test looks in the wrong place", len(found), inPackage, ofType)
	}
	return found
}

// section is the part of a page under a heading.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, page), "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", page, heading)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// firstCells are the words in the first column of a section's tables.
var firstCells = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|")

// sameWords reports each constant that a section's tables do not explain, and each word that they explain in vain.
func sameWords(t *testing.T, what, section string, constants map[string]string) {
	t.Helper()
	explained := map[string]bool{}
	for _, cell := range firstCells.FindAllStringSubmatch(section, -1) {
		explained[cell[1]] = true
	}
	for _, word := range constants {
		if !explained[word] {
			t.Errorf("the %s %s is not explained", what, word)
		}
		delete(explained, word)
	}
	for word := range explained {
		t.Errorf("the %s %s is explained, which the program does not have", what, word)
	}
}

func TestEveryErrorCodeIsInTheReferenceWithItsStatus(t *testing.T) {
	codes, reference := constants(t, "problem", "Code"), section(t, "reference.md", "## Errors")
	sameWords(t, "code", reference, codes)
	used := map[string]bool{}
	goFiles(t, func(file *ast.File) {
		ast.Inspect(file, func(node ast.Node) bool {
			if named, isNamed := qualified(node, "problem"); isNamed {
				used[named] = true
			}
			call, isCall := node.(*ast.CallExpr)
			if !isCall || len(call.Args) < 2 {
				return true
			}
			if made, isNamed := qualified(call.Fun, "problem"); !isNamed || made != "New" {
				return true
			}
			status, code := statusOf(call.Args[0]), ""
			if name, isNamed := qualified(call.Args[1], "problem"); isNamed {
				code = codes[name]
			}
			if status != "" && code != "" && !strings.Contains(reference, "| `"+code+"` | "+status+" |") {
				t.Errorf("a %s is answered with %s, which the reference does not say", code, status)
			}
			return true
		})
	})
	for name, code := range codes {
		if !used[name] {
			t.Errorf("nothing is ever answered with the code %s", code)
		}
	}
}

// qualified returns the name that an expression takes from a package.
func qualified(node ast.Node, from string) (name string, ok bool) {
	selector, isSelector := node.(*ast.SelectorExpr)
	if !isSelector {
		return "", false
	}
	in, isName := selector.X.(*ast.Ident)
	return selector.Sel.Name, isName && in.Name == from
}

// statusOf is the HTTP status that an expression names, "" where it is computed.
func statusOf(expression ast.Expr) string {
	if literal, isLiteral := expression.(*ast.BasicLit); isLiteral {
		return literal.Value
	}
	name, isNamed := qualified(expression, "http")
	for status := 400; isNamed && status < 600; status++ {
		if text := http.StatusText(status); text != "" && "Status"+strings.ReplaceAll(text, " ", "") == name {
			return strconv.Itoa(status)
		}
	}
	return ""
}

func TestEveryReasonWhyATokenIsRefusedIsExplained(t *testing.T) {
	sameWords(t, "reason", section(t, "identity.md", "### Why a token is refused"), constants(t, "identity", "Reason"))
}

var metricName = regexp.MustCompile(`^gateway_[a-z_]+$`)

func TestEveryMetricIsInTheReferenceAndNoOther(t *testing.T) {
	reference := read(t, "reference.md")
	known := map[string]bool{}
	goFiles(t, func(file *ast.File) {
		if file.Name.Name == "identity" {
			return // whose names of that form are cookies
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if literal, isLiteral := node.(*ast.BasicLit); isLiteral && literal.Kind == token.STRING {
				if name, _ := strconv.Unquote(literal.Value); metricName.MatchString(name) {
					known[name] = true
					if !strings.Contains(reference, "`"+name+"`") {
						t.Errorf("reference.md does not explain the metric %s", name)
					}
				}
			}
			return true
		})
	})
	for _, name := range regexp.MustCompile("`(gateway_[a-z_]+)`").FindAllStringSubmatch(reference, -1) {
		if !known[name[1]] {
			t.Errorf("reference.md explains %s, which the program does not have", name[1])
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	dropped = regexp.MustCompile("[^a-z0-9 _-]")
)

// anchors are the names by which the headings of a page can be linked to.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, title := range heading.FindAllStringSubmatch(page, -1) {
		found["#"+strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(title[1]), ""), " ", "-")] = true
	}
	return found
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	pages, _ := filepath.Glob("*.md")
	for _, page := range append(pages, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md", "../internal/README.md") {
		for _, found := range link.FindAllStringSubmatch(read(t, page), -1) {
			target := page
			if found[1] != "" {
				target = filepath.Join(filepath.Dir(page), found[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if found[2] != "" && !anchors(read(t, target))[found[2]] {
				t.Errorf("%s links to %s, where no heading is %s", page, target, found[2])
			}
		}
	}
}

// apiRoutes are the portal's calls where its routes are listed.
var apiRoutes = regexp.MustCompile(`\{"([A-Z]+)", apiPath \+ "([a-z]+)`)

func TestEveryCallOfThePortalIsInItsPage(t *testing.T) {
	page, known := read(t, "portal.md"), map[string]bool{}
	for _, found := range apiRoutes.FindAllStringSubmatch(read(t, "../internal/portal/portal.go"), -1) {
		call := found[1] + " /-/api/" + found[2]
		known[call] = true
		if !strings.Contains(page, "| `"+call) {
			t.Errorf("portal.md does not explain %s", call)
		}
	}
	if len(known) < 8 {
		t.Errorf("found %d calls: this test looks in the wrong place", len(known))
	}
	for _, found := range regexp.MustCompile("\\| `([A-Z]+ /-/api/[a-z]+)").FindAllStringSubmatch(page, -1) {
		if !known[found[1]] {
			t.Errorf("portal.md explains %s, which the program does not have", found[1])
		}
	}
}

// jsonField is the name that a field has in a line of the audit log.
var jsonField = regexp.MustCompile("`json:\"([a-z0-9_]+)\"`")

func TestEveryFieldAndOwnOperationOfTheAuditLogIsInItsPage(t *testing.T) {
	page, fields, operations := read(t, "audit.md"), 0, 0
	for _, file := range []string{"record.go", "chain.go"} {
		for _, found := range jsonField.FindAllStringSubmatch(read(t, "../internal/audit/"+file), -1) {
			fields++
			if name := regexp.MustCompile("`([a-z_]+)?\\.?" + found[1] + "[`.]"); !name.MatchString(page) {
				t.Errorf("audit.md does not explain the field %s", found[1])
			}
		}
	}
	for _, file := range []string{"../internal/portal/record.go", "../cmd/gateway/token.go"} {
		for _, found := range regexp.MustCompile(`"(gateway-[a-z-]+)"`).FindAllStringSubmatch(read(t, file), -1) {
			operations++
			if !strings.Contains(page, "| `"+found[1]+"` |") {
				t.Errorf("audit.md does not explain the operation %s", found[1])
			}
		}
	}
	if fields < 30 || operations < 4 {
		t.Errorf("found %d fields and %d operations: this test looks in the wrong place", fields, operations)
	}
}
