// Package docs_test holds the documentation to what the program has.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
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

func TestEveryErrorCodeIsInTheReference(t *testing.T) {
	reference := read(t, "reference.md")
	codes := 0
	goFiles(t, func(file *ast.File) {
		ast.Inspect(file, func(node ast.Node) bool {
			spec, isSpec := node.(*ast.ValueSpec)
			if !isSpec {
				return true
			}
			if name, isName := spec.Type.(*ast.Ident); isName && name.Name == "Code" && file.Name.Name == "problem" {
				for _, value := range spec.Values {
					code, _ := strconv.Unquote(value.(*ast.BasicLit).Value)
					codes++
					if !strings.Contains(reference, "| `"+code+"` |") {
						t.Errorf("reference.md does not explain the code %s", code)
					}
				}
			}
			return true
		})
	})
	if codes < 15 {
		t.Errorf("found %d codes: this test looks in the wrong place", codes)
	}
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

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	pages, _ := filepath.Glob("*.md")
	for _, page := range append(pages, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md", "../internal/README.md") {
		for _, found := range link.FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), found[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}
