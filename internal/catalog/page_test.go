package catalog_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
)

var update = flag.Bool("update", false, "write docs/operations.md")

// TestOperationsPage keeps docs/operations.md what the table says.
func TestOperationsPage(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "operations.md")
	want := page(load(t))
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("docs/operations.md is out of date (%v); write it with\n\tgo test ./internal/catalog -run TestOperationsPage -update", err)
	}
}

const pageHead = `# Operations

<!-- Written from internal/catalog/operations.yaml. Change that, then run:
     go test ./internal/catalog -run TestOperationsPage -update -->

The gateway knows these %d operations and refuses anything else. The table is version %s.
A policy grants them by scope, by permission or by operation id; wildcards such as ` + "`database:*`" + ` stand for all names that fit.

- **effect**: what the operation does, whatever its verb says. Anything but a read is recorded in the audit log before it is
  forwarded. *Destructive* is what cannot simply be changed back.
- **needs**: the scope, or one of the permission sets; ` + "`a + b`" + ` are needed together. *Assumed* marks what upstream has not
  published: it is that of the nearest published operation. A row of ` + "`catalog.extra`" + ` for the same method and path replaces it.
- **limit**: the limit class whose quota a call spends.
- **kept**: how long an answer may be served again where upstream says nothing about freshness.

| limit class | upstream allows |
|---|---|
%s
`

func page(c *catalog.Catalog) string {
	var b strings.Builder
	fmt.Fprintf(&b, pageHead, len(c.Operations()), c.Version(), classes(c))
	b.WriteString("\n## All operations\n\n| operation | call | about | effect | needs | limit | kept | |\n|---|---|---|---|---|---|---|---|\n")
	for _, op := range c.Operations() {
		fmt.Fprintf(&b, "| `%s` | `%s %s` | %s | %s | %s | %s | %s | %s |\n", op.ID, op.Method, op.Path, op.Target, op.Effect,
			needsText(op), op.Class.Name, kept(op), remarks(op))
	}
	b.WriteString("\n## What each scope covers\n")
	for _, scope := range c.Scopes() {
		section(&b, c, scope, func(n catalog.Needs) bool { return n.Scope == scope })
	}
	b.WriteString("\n## What each permission covers\n\nOperations marked with + need another permission beside it.\n")
	for _, permission := range c.Permissions() {
		section(&b, c, permission, func(n catalog.Needs) bool {
			return slices.ContainsFunc(n.Permissions, func(set []string) bool { return slices.Contains(set, permission) })
		})
	}
	return b.String()
}

func classes(c *catalog.Catalog) string {
	written := map[string]string{}
	for _, op := range c.Operations() {
		var limits []string
		for _, l := range op.Class.Limits {
			limits = append(limits, fmt.Sprintf("%d in %s", l.N, short(l.Window)))
		}
		written[op.Class.Name] = fmt.Sprintf("| %s | %s |", op.Class.Name, strings.Join(limits, " and "))
	}
	var lines []string
	for _, line := range written {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func section(b *strings.Builder, c *catalog.Catalog, name string, covers func(catalog.Needs) bool) {
	fmt.Fprintf(b, "\n### `%s`\n\n", name)
	for _, op := range c.Operations() {
		switch {
		case covers(catalog.Needs{Scope: op.Scope, Permissions: op.Permissions}):
			together := ""
			for _, set := range op.Permissions {
				if len(set) > 1 && slices.Contains(set, name) {
					together = " +"
				}
			}
			fmt.Fprintf(b, "- `%s` (%s)%s\n", op.ID, op.Effect, together)
		case op.ReadOnlyIf != "" && covers(op.ReadNeeds):
			fmt.Fprintf(b, "- `%s` (only where the body says `\"%s\": true`)\n", op.ID, op.ReadOnlyIf)
		}
	}
}

func needsText(op *catalog.Operation) string {
	var parts []string
	if op.Scope != "" {
		parts = append(parts, "`"+op.Scope+"`")
	}
	for _, set := range op.Permissions {
		parts = append(parts, "`"+strings.Join(set, " + ")+"`")
	}
	text := strings.Join(parts, " or ")
	if op.Assumed {
		text += " *(assumed)*"
	}
	return text
}

func kept(op *catalog.Operation) string {
	if op.Cache.TTL == 0 {
		return ""
	}
	return short(op.Cache.TTL)
}

// short writes a duration without the zero units that Duration.String adds.
func short(d time.Duration) string {
	text := strings.TrimSuffix(d.String(), "m0s")
	if text != d.String() {
		text += "m"
	}
	return strings.TrimSuffix(text, "0m")
}

func remarks(op *catalog.Operation) string {
	var parts []string
	if op.Secret {
		parts = append(parts, "carries secrets")
	}
	if op.List != catalog.NotAList {
		parts = append(parts, "narrowed")
	}
	if op.ReadOnlyIf != "" {
		parts = append(parts, "a read where the body says `\""+op.ReadOnlyIf+"\": true`")
	}
	if op.Local {
		parts = append(parts, "answered by the gateway")
	}
	if op.Refused != "" {
		parts = append(parts, "refused")
	}
	return strings.Join(parts, ", ")
}
