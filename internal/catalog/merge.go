package catalog

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"corp.example/gateway/internal/strictyaml"
)

// merging lays the extra rows over the embedded ones.
type merging struct {
	rows     []Row
	classes  map[string][]rowLimit
	origins  map[int]int // index in rows → index among the extra rows, for rows that were replaced or added
	adjusted map[int]bool
	faults   Faults
}

func newMerging(own table) *merging {
	return &merging{rows: own.Operations, classes: own.Classes, origins: map[int]int{}, adjusted: map[int]bool{}}
}

// embedded is the origin of the rows that no extra row replaced.
const embeddedOrigin = -1

// origin returns which extra row a row came from.
func (m *merging) origin(i int) int {
	if extra, ok := m.origins[i]; ok {
		return extra
	}
	return embeddedOrigin
}

func (m *merging) add(extra int, row Row) {
	fault := func(key, format string, args ...any) {
		m.faults = append(m.faults, Fault{Row: extra, ID: row.ID, Key: key, Message: fmt.Sprintf(format, args...)})
	}
	sameID := slices.IndexFunc(m.rows, func(r Row) bool { return r.ID == row.ID })
	if row.Method == "" && row.Path == "" && (sameID >= 0 || onlyAdjusts(row)) {
		m.adjust(sameID, row, fault)
		return
	}
	samePlace := slices.IndexFunc(m.rows, func(r Row) bool { return r.Method == row.Method && shape(r.Path) == shape(row.Path) })
	switch {
	case samePlace >= 0 && (m.origin(samePlace) != embeddedOrigin || !m.rows[samePlace].Assumed):
		fault("path", "%s %s is %s already: to change its cache or limit use that id, without method and path", row.Method, row.Path, m.rows[samePlace].ID)
	case sameID >= 0 && sameID != samePlace:
		fault("id", "%s %s has this id already: choose another", m.rows[sameID].Method, m.rows[sameID].Path)
	case samePlace >= 0:
		m.rows[samePlace], m.origins[samePlace] = row, extra
	default:
		m.origins[len(m.rows)] = extra
		m.rows = append(m.rows, row)
	}
}

// adjust changes the cache rule and the limit class of the embedded row at an index.
func (m *merging) adjust(at int, row Row, fault func(key, format string, args ...any)) {
	switch {
	case at < 0:
		fault("id", "no operation has this id%s: correct it, or give a method and a path to add one", m.suggestion(row.ID))
		return
	case m.origin(at) != embeddedOrigin || m.adjusted[at]:
		fault("id", "another extra row has this id already: merge the two")
		return
	case !onlyAdjusts(row):
		fault("", "only cache and limit of %s can be changed: take the other keys out", row.ID)
		return
	}
	m.adjusted[at] = true
	if row.Cache != nil {
		m.rows[at].Cache = row.Cache
	}
	if row.Limit == "" {
		return
	}
	if m.classes[row.Limit] == nil {
		fault("limit", "%s", unknownClass(row.Limit, m.classes))
		return
	}
	m.rows[at].Limit = row.Limit
}

func (m *merging) suggestion(id string) string {
	nearest := strictyaml.Nearest(id, func(yield func(string) bool) {
		for i := range m.rows {
			if !yield(m.rows[i].ID) {
				return
			}
		}
	})
	if nearest == "" {
		return ""
	}
	return " (did you mean " + nearest + "?)"
}

// onlyAdjusts reports whether a row has nothing but an id, a cache rule and a limit class.
func onlyAdjusts(row Row) bool {
	return row.ID != "" && reflect.DeepEqual(row, Row{ID: row.ID, Cache: row.Cache, Limit: row.Limit})
}

// shape is a template without the names of its parameters: two rows of one method and shape would fight over a path.
func shape(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if _, isParam := paramName(segment); isParam {
			segments[i] = "{}"
		}
	}
	return strings.Join(segments, "/")
}

func unknownClass(name string, classes map[string][]rowLimit) string {
	return fmt.Sprintf("%q is no limit class: write one of %s", name, strings.Join(slices.Sorted(maps.Keys(classes)), ", "))
}
