package harness

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Section is a part of a page of the docs, under one heading.
type Section struct {
	Title  string
	Shell  string   // its blocks of shell, one after another
	YAML   []string // its blocks of YAML
	Inline []string // what stands between backquotes in its text
}

var (
	fenced = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	inline = regexp.MustCompile("`([^`\n]+)`")
)

// Page reads a page of the docs, a path from the module's folder.
func Page(t testing.TB, path string) []Section {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(), path))
	if err != nil {
		t.Fatal(err)
	}
	var sections []Section
	blocks := fenced.FindAllStringSubmatch(string(text), -1)
	for number, line := range strings.Split(fenced.ReplaceAllString(string(text), "\x00"), "\n") {
		switch title, heading := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); {
		case strings.HasPrefix(line, "#") && heading || number == 0:
			sections = append(sections, Section{Title: title})
		case line == "\x00":
			block := blocks[0]
			blocks = blocks[1:]
			if section := &sections[len(sections)-1]; block[1] == "sh" {
				section.Shell += block[2]
			} else if block[1] == "yaml" {
				section.YAML = append(section.YAML, block[2])
			}
		default:
			for _, found := range inline.FindAllStringSubmatch(line, -1) {
				section := &sections[len(sections)-1]
				section.Inline = append(section.Inline, found[1])
			}
		}
	}
	return sections
}
