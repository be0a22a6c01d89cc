package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/narrow"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/problem"
)

// pagedList is the list that upstream cuts into pages by offset and limit, and counts. Its pages and its count are over
// everything the gateway's credential sees: for one caller a page could be empty although more follow, and the count would
// tell how many projects others have. So the list is read whole, in pages that are the same for every caller and kept like
// any answer; it is narrowed, and the caller's own page is cut from what it may see.
const pagedList = "v1-get-all-projects-for-organization"

const (
	pageSize = 100 // upstream's largest page
	// maxPages bounds what one request can make upstream answer: a quarter of a minute's quota of 120 calls, and memory for
	// 3,000 projects of about 600 bytes.
	maxPages = 30
)

// servePages is steps 6 to 12 for the list that comes in pages.
func (p *Proxy) servePages(ctx context.Context, rules *policy.Policy, x *exchange) error {
	asked, err := windowOf(x.call.Query())
	if err != nil {
		return err
	}
	found, err := p.readPage(ctx, x, 0)
	if err != nil {
		return err
	}
	if !shows(found.Entry.Status()) {
		return p.respond(x, found)
	}
	if found.Rest != nil {
		found.Rest.Close()
		return unnarrowable(errTooLarge)
	}
	view := fmt.Sprintf("%s %d+%d", rules.View(x.caller, x.team, x.began), asked.offset, asked.limit)
	found.Entry, err = p.config.Cache.Narrow(found.Entry, view, func(first []byte) ([]byte, error) {
		pages, err := p.furtherPages(ctx, x, first)
		if err != nil {
			return nil, err
		}
		return p.narrowItems(ctx, rules, x, nil, func(keep func(narrow.Item) bool) ([]byte, error) {
			body, _, err := narrow.Pages(pages, asked.offset, asked.limit, keep)
			return body, err
		})
	})
	if err != nil {
		return unnarrowable(err)
	}
	return p.respond(x, found)
}

// window is the part of a list that a caller asks for.
type window struct{ offset, limit int }

// windowOf reads the caller's offset and limit, with upstream's bounds and defaults.
func windowOf(query catalog.Query) (window, error) {
	asked := window{limit: pageSize}
	for _, parameter := range []struct {
		name        string
		into        *int
		least, most int
	}{
		{"offset", &asked.offset, 0, 1 << 30},
		{"limit", &asked.limit, 1, pageSize},
	} {
		text, given := query.Get(parameter.name)
		if !given {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < parameter.least || n > parameter.most {
			return asked, problem.New(http.StatusBadRequest, problem.BadRequest,
				"The query parameter %q must be a whole number from %d to %d.", parameter.name, parameter.least, parameter.most)
		}
		*parameter.into = n
	}
	return asked, nil
}

// furtherPages returns the bodies of all of upstream's pages, the first of which is there.
func (p *Proxy) furtherPages(ctx context.Context, x *exchange, first []byte) ([][]byte, error) {
	pages := [][]byte{first}
	for {
		count, err := countOf(pages[len(pages)-1])
		switch {
		case err != nil:
			return nil, err
		case count <= len(pages)*pageSize:
			return pages, nil
		case count > maxPages*pageSize:
			return nil, problem.New(http.StatusBadGateway, problem.UpstreamFailed,
				"This list is longer than the %d projects of which the gateway can sort out what you may see. Ask for fewer with search or statuses.", maxPages*pageSize)
		}
		found, err := p.readPage(ctx, x, len(pages)*pageSize)
		if err != nil {
			return nil, err
		}
		if found.Rest != nil {
			found.Rest.Close()
			return nil, errTooLarge
		}
		if status := found.Entry.Status(); status != http.StatusOK {
			return nil, problem.New(http.StatusBadGateway, problem.UpstreamFailed, "Upstream answered %d for a further page of this list.", status)
		}
		pages = append(pages, found.Entry.Body())
	}
}

// countOf is how many items upstream says the whole list has. What else the page must be, narrowing finds.
func countOf(page []byte) (int, error) {
	var answer struct {
		Pagination struct{ Count int }
	}
	if err := json.Unmarshal(page, &answer); err != nil {
		return 0, fmt.Errorf("reading a page's count: %w", err)
	}
	return answer.Pagination.Count, nil
}

// readPage reads one of upstream's whole pages, with the filters of the caller.
func (p *Proxy) readPage(ctx context.Context, x *exchange, offset int) (cache.Result, error) {
	call, err := p.config.Catalog.Parse(http.MethodGet, wholePage(&x.call, offset))
	if err != nil {
		return cache.Result{}, err
	}
	page := *x
	page.call, page.record.Queue, page.record.Upstream = call, 0, audit.Upstream{}
	found, err := p.read(ctx, &page)
	x.record.Cache = page.record.Cache
	x.record.Queue += page.record.Queue
	if asked := page.record.Upstream; asked.Duration > 0 { // the record names the last of several requests and their whole time
		asked.Duration += x.record.Upstream.Duration
		x.record.Upstream = asked
	}
	return found, err
}

// wholePage is the request for one of upstream's pages. The order of parameters does not matter to the cache.
func wholePage(call *catalog.Call, offset int) string {
	uri := []byte(call.Path + "?")
	for parameter := range strings.SplitSeq(call.RawQuery, "&") {
		name, _, _ := strings.Cut(parameter, "=") // the catalogue takes no encoded names
		if name != "" && name != "limit" && name != "offset" {
			uri = append(append(uri, parameter...), '&')
		}
	}
	uri = strconv.AppendInt(append(uri, "limit="...), pageSize, 10)
	return string(strconv.AppendInt(append(uri, "&offset="...), int64(offset), 10))
}
