package secret_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"corp.example/gateway/internal/secret"
)

func TestASecretIsNeverPrinted(t *testing.T) {
	text := secret.New("sbp_hidden")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", text, "inside", struct{ S secret.Text }{text})
	encoded, err := json.Marshal(map[string]any{"s": text, "p": &text})
	if err != nil {
		t.Fatal(err)
	}
	for name, printed := range map[string]string{
		"%v": fmt.Sprintf("%v", text), "%+v inside": fmt.Sprintf("%+v", struct{ S secret.Text }{text}), "%#v": fmt.Sprintf("%#v", &text),
		"%s": fmt.Sprintf("%s", text), "%q": fmt.Sprintf("%q", []secret.Text{text}), "%x": fmt.Sprintf("%x", text),
		"log": log.String(), "json": string(encoded),
	} {
		if strings.Contains(printed, "hidden") || strings.Contains(printed, fmt.Sprintf("%x", "hidden")) {
			t.Errorf("%s prints the secret: %s", name, printed)
		}
	}
	if text.Reveal() != "sbp_hidden" {
		t.Error("Reveal does not give the value")
	}
}

func TestReadingASource(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	getenv := func(name string) string { return map[string]string{"SET": "value"}[name] }
	for name, test := range map[string]struct {
		source    secret.Source
		want, err string
	}{
		"a file with a line end": {secret.Source{File: write("a", "value\n")}, "value", ""},
		"a set variable":         {secret.Source{Env: "SET"}, "value", ""},
		"an unset variable":      {secret.Source{Env: "UNSET"}, "", "environment variable UNSET is not set"},
		"a missing file":         {secret.Source{File: dir + "/none"}, "", "no such file"},
		"an empty file":          {secret.Source{File: write("b", "\n")}, "", "is empty"},
		"a file with spaces":     {secret.Source{File: write("c", " value\n")}, "", "white space"},
		"a huge file":            {secret.Source{File: write("d", strings.Repeat("x", 70<<10))}, "", "is this the right file?"},
		"nothing":                {secret.Source{}, "", "wants {file: PATH} or {env: NAME}"},
		"two places":             {secret.Source{File: "a", Env: "SET"}, "", "keep one"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.source.Read(getenv)
			if got.Reveal() != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("Read(%+v) = %q, %v; want %q, %q", test.source, got.Reveal(), err, test.want, test.err)
			}
		})
	}
}

func TestASecretForAHeaderIsOneLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	getenv := func(name string) string { return map[string]string{"ONE": "a b", "TWO": "a\nb"}[name] }
	for _, test := range []struct {
		source    secret.Source
		want, err string
	}{
		{secret.Source{Env: "ONE"}, "a b", ""},
		{secret.Source{Env: "TWO"}, "", "environment variable TWO holds more than one line"},
		{secret.Source{File: file}, "", "secret file " + file + " holds more than one line"},
		{secret.Source{Env: "UNSET"}, "", "is not set"},
	} {
		got, err := test.source.ReadLine(getenv)
		if got.Reveal() != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("ReadLine(%+v) = %q, %v; want %q, %q", test.source, got.Reveal(), err, test.want, test.err)
		}
	}
	if both, err := (secret.Source{File: file}).Read(getenv); err != nil || both.Reveal() != "one\ntwo" {
		t.Errorf("Read = %q, %v; seal keys stand on several lines", both.Reveal(), err)
	}
}
