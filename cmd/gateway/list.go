package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// listFormat is how a command writes its list.
type listFormat struct{ name *string }

// listFlag adds the flag that says how.
func listFlag(command *cobra.Command) listFormat {
	return listFormat{command.Flags().String("format", "table", "`FORMAT` of the list: table or json")}
}

func (f listFormat) check() error {
	if *f.name != "table" && *f.name != "json" {
		return fmt.Errorf("--format %q: it is table or json", *f.name)
	}
	return nil
}

// writeList writes the items as indented JSON, an empty list and not null where there are none, or by table.
func writeList[T any](w io.Writer, f listFormat, items []T, table func(io.Writer, []T) error) error {
	if *f.name == "table" {
		return table(w, items)
	}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(append([]T{}, items...))
}

// printable keeps names made elsewhere from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// listed names all there are.
func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
