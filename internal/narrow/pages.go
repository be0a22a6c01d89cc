package narrow

import (
	"errors"
	"strconv"

	"corp.example/gateway/internal/catalog"
)

// Pages makes the one page that a caller asked for out of all pages of upstream's list of an organization's projects, so
// that offset, limit and count speak of what this caller may see: with upstream's own numbers a page could be empty
// although more follow, and the count would tell how many projects others have. pages are upstream's answers in their
// order; offset and limit are the caller's, both not negative. removed counts the items that keep refused.
func Pages(pages [][]byte, offset, limit int, keep func(Item) bool) (body []byte, removed int, err error) {
	if len(pages) == 0 {
		return nil, 0, errors.New("narrowing a list: no page to narrow")
	}
	var kept []string
	var container string
	size := 0
	for _, page := range pages {
		l := list{collect: true}
		if err := l.read(page, catalog.ListOrgProjects, keep); err != nil {
			return nil, 0, err
		}
		if container == "" {
			container = l.container
		}
		if l.container == "" || l.container != container {
			return nil, 0, errors.New("narrowing a list: its pages are not alike")
		}
		kept = append(kept, l.kept...)
		removed += l.removed
		size = max(size, len(page))
	}
	from := min(max(offset, 0), len(kept))
	to := min(from+max(limit, 0), len(kept))
	out := make([]byte, 0, size)
	out = append(out, `{"`+container+`":[`...)
	for i, item := range kept[from:to] {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, item...)
	}
	out = append(out, `],"pagination":{"count":`...)
	out = strconv.AppendInt(out, int64(len(kept)), 10)
	out = append(out, `,"limit":`...)
	out = strconv.AppendInt(out, int64(limit), 10)
	out = append(out, `,"offset":`...)
	out = strconv.AppendInt(out, int64(offset), 10)
	return append(out, "}}"...), removed, nil
}
