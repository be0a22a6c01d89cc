package strictyaml_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/strictyaml"
)

type file struct {
	Listen string `yaml:"listen"`
	Port   int    `yaml:"port" zero:"no"`
	TLS    *struct {
		Cert string `yaml:"cert_file"`
	} `yaml:"tls"`
	Teams []struct {
		Name   string `yaml:"name"`
		Weight int    `yaml:"weight"`
	} `yaml:"teams"`
	Sets map[string][]string `yaml:"sets"`
	Wait strictyaml.Duration `yaml:"wait"`
	Size strictyaml.Bytes    `yaml:"size"`
	When time.Time           `yaml:"when"`
}

func TestDecodeReadsEveryForm(t *testing.T) {
	var f file
	source, err := strictyaml.Decode("f.yaml", []byte(`listen: ":1"
port: 5
tls: {cert_file: c.pem}
teams:
  - {name: a, weight: 2}
  - name: b
sets: {x: [p, q]}
wait: 90d
size: 64MiB
when: 2026-12-31T00:00:00Z
`), &f)
	if err != nil {
		t.Fatal(err)
	}
	if f.Listen != ":1" || f.Port != 5 || f.TLS.Cert != "c.pem" || len(f.Teams) != 2 || f.Teams[0].Weight != 2 || f.Teams[1].Name != "b" {
		t.Errorf("decoded %+v", f)
	}
	if !slices.Equal(f.Sets["x"], []string{"p", "q"}) || f.Wait != strictyaml.Duration(90*24*time.Hour) || f.Size != 64<<20 || f.When.Year() != 2026 {
		t.Errorf("decoded %+v", f)
	}
	if got := source.Line("teams", 1, "name"); got != 6 {
		t.Errorf("line of teams[1].name = %d, want 6", got)
	}
	if got := source.Fault("is wrong", "teams", 1, "name").Error(); got != "f.yaml:6: teams[1].name: is wrong" {
		t.Errorf("fault = %q", got)
	}
	if source.Has("teams", 1, "weight") || !source.Has("teams", 0, "weight") {
		t.Error("Has does not follow the file")
	}
}

func TestEveryFaultIsReportedAtOnceWithItsLine(t *testing.T) {
	var f file
	_, err := strictyaml.Decode("f.yaml", []byte(`lisen: ":1"
port: many
port: 6
teams:
  - {name: [a], wieght: 2}
  - b
tls: {key: x}
sets: {x: [p], x: [q]}
wait: 30
size: 64
`), &f)
	var faults strictyaml.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error = %v, want Faults", err)
	}
	for _, want := range []string{
		`f.yaml:1: lisen: unknown key: did you mean "listen"?`,
		`f.yaml:2: port: wants a whole number, has "many"`,
		`f.yaml:3: port: this key stands twice: keep one`,
		`f.yaml:5: teams[0].name: wants text, has a list`,
		`f.yaml:5: teams[0].wieght: unknown key: did you mean "weight"?`,
		`f.yaml:6: teams[1]: wants keys and values such as {name, weight: …}, has a single value`,
		`f.yaml:7: tls.key: unknown key: known here are cert_file`,
		`f.yaml:8: sets.x: this key stands twice: keep one`,
		`f.yaml:9: wait: "30" is no duration: write it as 30s, 1h30m or 90d`,
		`f.yaml:10: size: "64" is no size: write it as 512KiB, 64MiB or 1GiB`,
	} {
		if !strings.Contains(err.Error()+"\n", want+"\n") {
			t.Errorf("missing fault %q in:\n%v", want, err)
		}
	}
	if len(faults) != 10 {
		t.Errorf("%d faults, want 10:\n%v", len(faults), err)
	}
}

func TestBrokenFiles(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"not YAML":              {"a: [", "f.yaml:1: this is not valid YAML"},
		"a second document":     {"port: 1\n---\nport: 2\n", "more than one document"},
		"both at once":          {"port: x\n---\n", "f.yaml:1: port: wants a whole number"},
		"a part of a number":    {"port: 1.5\n", `f.yaml:1: port: wants a whole number, has "1.5"`},
		"a zero that is none":   {"port: 0\n", `f.yaml:1: port: "0" would count as left out: write more, or leave the key out for its default`},
		"a list at the top":     {"- a\n", "f.yaml:1: wants keys and values"},
		"aliases without bound": {bomb(), "use fewer aliases"},
	} {
		t.Run(name, func(t *testing.T) {
			var f file
			_, err := strictyaml.Decode("f.yaml", []byte(test.text), &f)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want %q", err, test.want)
			}
		})
	}
}

// Where a place of a secret belongs, people write the secret; the fault goes into the logs of build machines.
func TestAValueInPlaceOfKeysIsNotRepeated(t *testing.T) {
	var f file
	_, err := strictyaml.Decode("f.yaml", []byte("tls: sbp_hidden\nsets: sbp_hidden\n"), &f)
	if err == nil || strings.Contains(err.Error(), "hidden") || strings.Count(err.Error(), "has a single value") != 2 {
		t.Errorf("error = %v", err)
	}
}

func TestAKeyWithoutAValueIsLeftOut(t *testing.T) {
	var f file
	if _, err := strictyaml.Decode("f.yaml", []byte("port:\n"), &f); err != nil {
		t.Errorf("error = %v, want none", err)
	}
}

// bomb is a small file that aliases would expand to three million values.
func bomb() string {
	var b strings.Builder
	b.WriteString("sets:\n  a: &a [" + strings.TrimSuffix(strings.Repeat("x, ", 3000), ", ") + "]\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  a%d: *a\n", i)
	}
	return b.String()
}

func TestAnEmptyFileIsTheZeroValue(t *testing.T) {
	var f file
	if _, err := strictyaml.Decode("f.yaml", nil, &f); err != nil {
		t.Errorf("error = %v, want none", err)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"database:read", "database:write", "projects:read"}
	for word, want := range map[string]string{"databse:read": "database:read", "Projects:Read": "projects:read", "zebra": ""} {
		if got := strictyaml.Nearest(word, slices.Values(known)); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestValuesWriteWhatTheyRead(t *testing.T) {
	for _, text := range []string{"90d", "1h30m0s", "250ms"} {
		var d strictyaml.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != text {
			t.Errorf("duration %q reads as %v, %v", text, d, err)
		}
	}
	for _, text := range []string{"64MiB", "3GiB", "5KiB", "17B"} {
		var b strictyaml.Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b.String() != text {
			t.Errorf("size %q reads as %v, %v", text, b, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("listen: a\nteams: [{name: x}]\n")
	f.Add("sets: {a: &a [b], c: *a}")
	f.Add("&a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		var into file
		if _, err := strictyaml.Decode("f.yaml", []byte(text), &into); err != nil {
			var faults strictyaml.Faults
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Errorf("error %v is not Faults", err)
			}
		}
	})
}
