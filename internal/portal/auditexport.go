package portal

import (
	"encoding/csv"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"corp.example/gateway/internal/audit"
)

// auditLines streams the lines of a filter as they stand in the log.
func (p *Portal) auditLines(v *visit) error {
	out := &download{visit: v, kind: "application/x-ndjson", file: "audit.jsonl"}
	return p.export(v, out, func(line audit.Line) error {
		_, err := out.Write(append(line.Raw, '\n'))
		return err
	}, func() error { return nil })
}

// auditCSV streams them as a table.
func (p *Portal) auditCSV(v *visit) error {
	out := &download{visit: v, kind: "text/csv; charset=utf-8", file: "audit.csv"}
	table := csv.NewWriter(out)
	if err := table.Write(columns); err != nil { // only buffered as yet
		return err
	}
	return p.export(v, out, func(line audit.Line) error { return table.Write(row(line.Record)) }, func() error {
		table.Flush()
		return table.Error()
	})
}

// export gives each line that the filter of the address finds to line, and then calls end. Where that breaks off after
// something was sent, so does the connection: half a table must not look whole.
func (p *Portal) export(v *visit, out *download, line func(audit.Line) error, end func() error) error {
	f, err := auditQueryOf(v.r.URL.Query()).filter(v)
	if err != nil {
		return err
	}
	if v.r.Method != http.MethodHead {
		if err = p.search(v, f, line); err == nil {
			err = end()
		}
	}
	switch {
	case err == nil:
		out.begin() // also where nothing was found
		return nil
	case !out.begun:
		return err
	}
	p.config.Log.Warn("an export of the audit log broke off", "request_id", v.id(), "error", err)
	panic(http.ErrAbortHandler)
}

// download is a file on its way to the client. It begins with its first byte, so that until then there can be another
// answer.
type download struct {
	visit      *visit
	kind, file string
	begun      bool
}

var _ io.Writer = (*download)(nil)

func (d *download) Write(data []byte) (int, error) {
	d.begin()
	return d.visit.w.Write(data)
}

func (d *download) begin() {
	if d.begun {
		return
	}
	d.begun = true
	h := d.visit.w.Header()
	h.Set("Content-Type", d.kind)
	h.Set("Content-Disposition", `attachment; filename="`+d.file+`"`)
	h.Set("Cache-Control", "no-store")
	// Who reads slowly holds one of the few places for searches. Where there is no connection to set it on, there is no
	// slow one either.
	_ = http.NewResponseController(d.visit.w).SetWriteDeadline(time.Now().Add(searchTime))
	d.visit.w.WriteHeader(http.StatusOK)
}

var columns = []string{"time", "id", "phase", "request_id", "caller_kind", "issuer", "subject", "email", "token", "team", "client_ip", "user_agent",
	"operation", "method", "path", "target_kind", "project", "organization", "allow", "rule", "reason", "credential", "cache", "queue_ms",
	"upstream_status", "upstream_ms", "status", "outcome", "bytes", "detail", "shadow"}

// row is a record in the order of columns.
func row(r audit.Record) []string {
	ip := ""
	if r.Client.IP.IsValid() {
		ip = r.Client.IP.String()
	}
	cells := []string{r.Time.UTC().Format(time.RFC3339Nano), r.ID, string(r.Phase), r.RequestID, r.Caller.Kind, r.Caller.Issuer, r.Caller.Subject,
		r.Caller.Email, r.Caller.Token, r.Team, ip, r.Client.UserAgent, r.Operation, r.Method, r.Path, r.Target.Kind, r.Target.Project,
		r.Target.Organization, strconv.FormatBool(r.Decision.Allow), r.Decision.Rule, r.Decision.Reason, r.Credential, r.Cache,
		millis(r.Queue), strconv.Itoa(r.Upstream.Status), millis(r.Upstream.Duration), strconv.Itoa(r.Status), r.Outcome, strconv.FormatInt(r.Bytes, 10), r.Detail, r.Decision.Shadow}
	for i := range cells {
		cells[i] = plainCell(cells[i])
	}
	return cells
}

// plainCell keeps a spreadsheet from taking text that callers wrote for a formula: it would run on an administrator's
// machine.
func plainCell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', -1, 64)
}
