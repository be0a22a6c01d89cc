// Package secret holds values that must never be printed, and reads them from where an operator keeps them.
//
// Invariant: whatever formats, logs or encodes a Text sees "redacted"; only Reveal gives the value, so that its uses can
// be found by searching for that word.
package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode"
)

const redacted = "redacted"

// Text is a secret string. The zero value is no secret.
type Text struct{ value string }

// New makes a secret of value.
func New(value string) Text { return Text{value} }

// Reveal returns the value itself.
func (t Text) Reveal() string { return t.value }

// IsZero reports whether there is no secret.
func (t Text) IsZero() bool { return t.value == "" }

// Format prints "redacted" for every verb, also for a secret inside another value.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is what a log line gets.
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is what JSON, YAML and every other encoding gets.
func (t Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Source says where a secret is kept: in a file or in an environment variable, never in the configuration itself.
type Source struct {
	// File is the path of a file that holds the secret alone; a line end after it is dropped.
	File string `yaml:"file"`
	// Env is the name of an environment variable that holds the secret.
	Env string `yaml:"env"`
}

// maxSecretBytes bounds a secret file: the longest secret here is a private key of some 3 KiB.
const maxSecretBytes = 64 << 10

// IsZero reports whether no place is named.
func (s Source) IsZero() bool { return s == Source{} }

// Check reports a source that names no place or two.
func (s Source) Check() error {
	switch {
	case s.IsZero():
		return errors.New("wants {file: PATH} or {env: NAME}")
	case s.File != "" && s.Env != "":
		return errors.New("names both a file and an environment variable: keep one")
	}
	return nil
}

// Read returns the secret. The error names the place and never the value.
func (s Source) Read(getenv func(string) string) (Text, error) {
	if err := s.Check(); err != nil {
		return Text{}, err
	}
	if s.Env != "" {
		value := getenv(s.Env)
		if value == "" {
			return Text{}, fmt.Errorf("environment variable %s is not set", s.Env)
		}
		return check(value, "environment variable "+s.Env)
	}
	file, err := os.Open(s.File)
	if err != nil {
		return Text{}, fmt.Errorf("reading the secret: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	if err != nil {
		return Text{}, fmt.Errorf("reading the secret: %w", err)
	}
	if len(data) > maxSecretBytes {
		return Text{}, fmt.Errorf("secret file %s is over %d bytes: is this the right file?", s.File, maxSecretBytes)
	}
	return check(strings.TrimRight(string(data), "\r\n"), "secret file "+s.File)
}

// ReadLine is Read for a secret that is sent in a header or a form: one line, without control characters.
func (s Source) ReadLine(getenv func(string) string) (Text, error) {
	text, err := s.Read(getenv)
	if err == nil && strings.ContainsFunc(text.value, unicode.IsControl) {
		place := "secret file " + s.File
		if s.Env != "" {
			place = "environment variable " + s.Env
		}
		return Text{}, fmt.Errorf("%s holds more than one line: it must hold the secret alone", place)
	}
	return text, err
}

// check refuses values that can only be mistakes: sent in a header they would fail there, far from their cause.
func check(value, place string) (Text, error) {
	if value == "" {
		return Text{}, fmt.Errorf("%s is empty", place)
	}
	if strings.TrimSpace(value) != value {
		return Text{}, fmt.Errorf("%s begins or ends with white space", place)
	}
	return New(value), nil
}
