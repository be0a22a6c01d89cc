package catalog

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with an extra row, with its remedy.
type Fault struct {
	Row     int    // index among the extra rows
	ID      string // the row's id, "" where it has none
	Key     string // the key at fault, "" for the row as a whole
	Message string
}

func (f Fault) Error() string {
	where := fmt.Sprintf("extra[%d]", f.Row)
	if f.ID != "" {
		where += " (" + f.ID + ")"
	}
	if f.Key != "" {
		where += "." + f.Key
	}
	return where + ": " + f.Message
}

// Faults are all that is wrong with the extra rows, in their order.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}
