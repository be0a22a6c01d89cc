package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// TestManPagesAreWhatTheCommandsSay compares docs/man with the commands, or writes it where UPDATE is set.
func TestManPagesAreWhatTheCommandsSay(t *testing.T) {
	const folder = "../../docs/man"
	pages := map[string]bool{}
	var each func(*cobra.Command)
	each = func(command *cobra.Command) {
		if !command.IsAvailableCommand() && command.HasParent() {
			return
		}
		command.DisableAutoGenTag = true
		var page bytes.Buffer
		header := &doc.GenManHeader{Section: "1", Source: "gateway", Manual: "Gateway for the Supabase Management API", Date: &time.Time{}}
		if err := doc.GenMan(command, header, &page); err != nil {
			t.Fatal(err)
		}
		name := strings.ReplaceAll(command.CommandPath(), " ", "-") + ".1"
		pages[name] = true
		path := filepath.Join(folder, name)
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if written, err := os.ReadFile(path); err != nil || !bytes.Equal(written, page.Bytes()) {
			t.Errorf("%s is not what the command says (%v): write it again with UPDATE=1 go test ./cmd/gateway -run Man", path, err)
		}
		for _, child := range command.Commands() {
			each(child)
		}
	}
	each(rootCommand(os.Getenv))
	written, err := filepath.Glob(filepath.Join(folder, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range written {
		if !pages[filepath.Base(path)] {
			t.Errorf("%s is the page of no command", path)
		}
	}
}
