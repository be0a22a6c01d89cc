package proxy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/problem"
)

func bodyOf(text string) *requestBody {
	r := httptest.NewRequest("POST", "/", strings.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	b := newRequestBody(r)
	return &b
}

func TestABodyThatDecidesIsReadInOneWayOnly(t *testing.T) {
	query := &catalog.Operation{ID: "query", Effect: catalog.Write, ReadOnlyIf: "read_only"}
	for name, test := range map[string]struct {
		body   string
		effect catalog.Effect
		code   problem.Code
	}{
		"a write":                            {`{"query":"x"}`, catalog.Write, ""},
		"a read":                             {`{"query":"x","read_only":true}`, catalog.Read, ""},
		"an escaped key":                     {`{"query":"x","read\u005fonly":true}`, catalog.Read, ""},
		"not quite true":                     {`{"query":"x","read_only":"true"}`, catalog.Write, ""},
		"another spelling":                   {`{"query":"x","Read_Only":true}`, catalog.Write, ""},
		"nested":                             {`{"a":{"read_only":true}}`, catalog.Write, ""},
		"repeated keys":                      {`{"read_only":true,"query":"x","read_only":false}`, 0, problem.BadRequest},
		"repeated keys, one of them escaped": {`{"read_only":true,"read\u005fonly":false}`, 0, problem.BadRequest},
		"trailing data":                      {`{"read_only":true}{"read_only":false}`, 0, problem.BadRequest},
		"no object":                          {`["read_only"]`, 0, problem.BadRequest},
		"broken":                             {`{"read_only":true`, 0, problem.BadRequest},
		"empty":                              {``, 0, problem.BadRequest},
		"too large to decide":                {`{"read_only":true,"query":"` + strings.Repeat("x", decidingBytes) + `"}`, catalog.Write, ""},
	} {
		t.Run(name, func(t *testing.T) {
			effect, err := bodyOf(test.body).effect(query)
			if test.code != "" {
				if p := problem.From(err); p.Code != test.code {
					t.Errorf("error %v, want %s", err, test.code)
				}
				return
			}
			if err != nil || effect != test.effect {
				t.Errorf("effect %v, %v; want %v", effect, err, test.effect)
			}
		})
	}
}

func TestABodyThatDecidesCannotPassForAnotherForm(t *testing.T) {
	query := &catalog.Operation{ID: "query", Effect: catalog.Write, ReadOnlyIf: "read_only"}
	for name, test := range map[string]struct {
		header string
		body   string
		reads  bool
	}{
		"JSON":               {"Content-Type: application/json", `{"read_only":true}`, true},
		"JSON in UTF-8":      {"Content-Type: application/json; charset=UTF-8", `{"read_only":true}`, true},
		"a form":             {"Content-Type: application/x-www-form-urlencoded", `{"read_only":true,"x":"&read_only=false&query=drop"}`, false},
		"JSON in UTF-7":      {"Content-Type: application/json; charset=utf-7", `{"read_only":true,"x":"+ACI-,+ACI-read_only+ACI-:false,+ACI-y+ACI-:+ACI-"}`, false},
		"two charsets":       {"Content-Type: application/json; charset=utf-8; charset=utf-7", `{"read_only":true}`, false},
		"a list of types":    {"Content-Type: application/json, text/plain", `{"read_only":true}`, false},
		"nothing said":       {"Accept: */*", `{"read_only":true}`, false},
		"said to be encoded": {"Content-Encoding: gzip", `{"read_only":true}`, false},
	} {
		b := bodyOf(test.body)
		key, value, _ := strings.Cut(test.header, ": ")
		if key == "Accept" {
			b.header.Del("Content-Type")
		}
		b.header.Set(key, value)
		effect, err := b.effect(query)
		if reads := err == nil && effect == catalog.Read; reads != test.reads || !reads && problem.From(err).Code != problem.BadRequest {
			t.Errorf("%s: effect %v, %v; want it taken as a read: %v", name, effect, err, test.reads)
		}
	}
}

func TestTheOrganizationThatABodyNames(t *testing.T) {
	create := &catalog.Operation{ID: "create", BodyTarget: []string{"organization_slug", "organization_id"}}
	for body, want := range map[string]string{
		`{"organization_slug":"acme"}`:                           "acme",
		`{"organization_id":"acme"}`:                             "acme",
		`{"organization_id":"acme","organization_slug":"acme"}`:  "acme",
		`{"organization_id":"other","organization_slug":"acme"}`: "",
		`{"organization_slug":7}`:                                "",
		`{"name":"x"}`:                                           "",
	} {
		got, err := bodyOf(body).organization(create)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s names %q, %v; want %q", body, got, err, want)
		}
	}
}

func TestWhatWasReadAheadIsSentWholeAndAgain(t *testing.T) {
	text := strings.Repeat("0123456789", 10)
	for name, ahead := range map[string]int{"nothing": 0, "a part": 30, "all": 1000} {
		b := bodyOf(text)
		b.recordHash()
		if err := b.readAhead(ahead); err != nil {
			t.Fatal(err)
		}
		sends := 1
		if b.replayable() {
			sends = 2
		}
		for range sends {
			reader, length := b.reader(hourGuard())
			got, err := io.ReadAll(reader)
			if err != nil || string(got) != text || length != int64(len(text)) {
				t.Errorf("read ahead %s: sent %q of length %d, %v", name, got, length, err)
			}
		}
		if got, want := b.sha256(), fmt.Sprintf("%x", sha256.Sum256([]byte(text))); got != want {
			t.Errorf("hash %s, want %s", got, want)
		}
	}
}

func TestAnEmptyBodyIsSentWithoutOne(t *testing.T) {
	b := bodyOf("")
	if err := b.readAhead(10); err != nil {
		t.Fatal(err)
	}
	if _, length := b.reader(hourGuard()); length != 0 {
		t.Errorf("length %d, want 0: a chunked empty body is something else", length)
	}
}

func hourGuard() *stallGuard {
	_, cancel := context.WithCancelCause(context.Background())
	return watchStalls(time.Hour, cancel)
}

func TestABodyIsNotReadWhenItsRequestIsOver(t *testing.T) {
	b := bodyOf("some text")
	b.recordHash()
	reader, _ := b.reader(hourGuard())
	if _, err := io.ReadFull(reader, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	b.end()
	n, err := reader.Read(make([]byte, 4))
	if left, _ := io.ReadAll(b.sent.source); n != 0 || err != errRequestOver || string(left) != " text" {
		t.Errorf("read %d, %v, with %q left: the client's connection serves its next request by now", n, err, left)
	}
	if got, want := b.sha256(), hexSHA256([]byte("some")); got != want {
		t.Errorf("hash %s, want that of what was read", got)
	}
	if b.fault() != nil {
		t.Errorf("the client's fault is %v, want none", b.fault())
	}
}
