package catalog_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/catalog"
)

// The tests of this file hold the table against upstream's own descriptions, which lie beside the repository and are
// not part of it. Where they are absent the tests are skipped.

func upstreamFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "api", name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("upstream's %s is not here", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// records reads a tab-separated file as maps by column.
func records(t *testing.T, name string) []map[string]string {
	t.Helper()
	reader := csv.NewReader(strings.NewReader(string(upstreamFile(t, name))))
	reader.Comma, reader.LazyQuotes = '\t', true
	lines, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var found []map[string]string
	for _, line := range lines[1:] {
		record := map[string]string{}
		for i, column := range lines[0] {
			record[column] = line[i]
		}
		found = append(found, record)
	}
	return found
}

func published(op *catalog.Operation) bool { return !op.Assumed }

func TestPublishedOperationsAreAllThere(t *testing.T) {
	c := load(t)
	listed := records(t, "operations.tsv")
	for _, record := range listed {
		op := c.Lookup(record["operation_id"])
		if op == nil {
			t.Errorf("%s %s (%s) is missing", record["method"], record["path"], record["operation_id"])
			continue
		}
		scope := strings.TrimPrefix(record["oauth_scope"], "-")
		if op.Method != record["method"] || op.Path != record["path"] || op.Scope != scope || op.Assumed {
			t.Errorf("%s is %s %s with the scope %q (assumed: %v), want %s %s with %q", op.ID,
				op.Method, op.Path, op.Scope, op.Assumed, record["method"], record["path"], scope)
		}
	}
	if got := len(ids(c, published)); got != len(listed) {
		t.Errorf("%d operations are marked as published, upstream lists %d", got, len(listed))
	}
}

func TestNewerOperationsAreAllThere(t *testing.T) {
	c := load(t)
	listed := records(t, "newer-operations.tsv")
	for _, record := range listed {
		i := slices.IndexFunc(c.Operations(), func(op *catalog.Operation) bool {
			return op.Method == record["method"] && op.Path == record["path"]
		})
		if i < 0 {
			t.Errorf("%s %s is missing", record["method"], record["path"])
			continue
		}
		op := c.Operations()[i]
		if named := !strings.HasPrefix(record["operation"], "("); named && op.ID != record["operation"] || !op.Assumed {
			t.Errorf("%s %s is %s (assumed: %v), want %s, assumed", op.Method, op.Path, op.ID, op.Assumed, record["operation"])
		}
	}
	if got := len(c.Operations()) - len(ids(c, published)); got != len(listed) {
		t.Errorf("%d operations are marked as assumed, %d are listed", got, len(listed))
	}
}

// specification is the part of an OpenAPI document that the table repeats.
type specification struct {
	Paths map[string]map[string]struct {
		OperationID string                `json:"operationId"`
		Security    []map[string][]string `json:"security"`
		Scope       string                `json:"x-oauth-scope"`
		Parameters  []struct {
			Name, In string
			Schema   struct{ Type string }
		} `json:"parameters"`
	} `json:"paths"`
}

// alternatives writes permission sets as the table does, sorted.
func alternatives(sets [][]string) []string {
	var written []string
	for _, set := range sets {
		written = append(written, strings.Join(set, "+"))
	}
	slices.Sort(written)
	return written
}

func TestPermissionsAreTheSpecificationsSecurity(t *testing.T) {
	c := load(t)
	var spec specification
	if err := json.Unmarshal(upstreamFile(t, "openapi.json"), &spec); err != nil {
		t.Fatal(err)
	}
	count := 0
	for path, methods := range spec.Paths {
		for method, described := range methods {
			count++
			op := c.Lookup(described.OperationID)
			if op == nil || op.Path != path || op.Method != strings.ToUpper(method) || op.Scope != described.Scope {
				t.Errorf("%s %s (%s, scope %q) is missing or differs", method, path, described.OperationID, described.Scope)
				continue
			}
			var want [][]string
			for _, object := range described.Security {
				if permissions := object["fga_permissions"]; len(permissions) > 0 {
					want = append(want, permissions)
				}
			}
			got := slices.Concat(op.Permissions, op.ReadNeeds.Permissions)
			if !slices.Equal(alternatives(got), alternatives(want)) {
				t.Errorf("%s needs %q, upstream says %q", op.ID, alternatives(got), alternatives(want))
			}
			repeat := map[string]bool{}
			for _, parameter := range described.Parameters {
				if parameter.In == "query" && parameter.Schema.Type == "array" {
					repeat[parameter.Name] = true
				}
			}
			if want := slices.Sorted(maps.Keys(repeat)); !slices.Equal(op.Repeat, want) {
				t.Errorf("%s: the query parameters %q may repeat, upstream says %q", op.ID, op.Repeat, want)
			}
		}
	}
	if got := len(ids(c, published)); got != count {
		t.Errorf("%d operations are marked as published, the specification has %d", got, count)
	}
}
