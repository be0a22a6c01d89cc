package policy_test

import (
	"os"
	"strings"
	"testing"

	"corp.example/gateway/internal/policy"
)

// The example policy and every example of the documentation load, and their tests pass.
func TestExampleFileLoads(t *testing.T) {
	const file = "../../configs/policy.yaml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Load(file, data, table(t)); err != nil {
		t.Error(err)
	}
	for _, key := range []string{
		"contact:", "sets:", "name:", "members:", "group:", "email:", "issuer:", "claims:", "weight:", "admin:", "allow:", "deny:",
		"projects:", "organizations:", "account:", "branches:", "scopes:", "permissions:", "operations:", "effects:", "until:", "shadow:",
		"as:", "call:", "want:", "team:", "parent:", "organization:", "read_only:", "at:",
	} {
		if !strings.Contains(string(data), key) {
			t.Errorf("%s does not show %s", file, key)
		}
	}
}

func TestDocumentedExamplesLoad(t *testing.T) {
	const file = "../../docs/policy.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(data), "```yaml\n")[1:]
	if len(examples) != 10 {
		t.Errorf("%d examples, want 10", len(examples))
	}
	line := strings.Count(strings.Split(string(data), "```yaml\n")[0], "\n")
	for _, rest := range examples {
		example, after, closed := strings.Cut(rest, "```\n")
		if !closed || !strings.Contains(example, "\ntests:\n") {
			t.Errorf("%s:%d: the example has no end or no tests", file, line+1)
		}
		// Blank lines in front keep the lines of faults those of the page.
		if _, err := policy.Load(file, []byte(strings.Repeat("\n", line+1)+example), table(t)); err != nil {
			t.Error(err)
		}
		line += 1 + strings.Count(example, "\n") + 1 + strings.Count(after, "\n")
	}
}
