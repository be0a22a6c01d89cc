package portal

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/problem"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/*
var assetFiles embed.FS

const assetPath = "/-/assets/"

// looks is everything the pages are made of.
type looks struct {
	pages  map[string]*template.Template // by the template's file name without its extension
	assets map[string]asset              // by the last segment of their path, which has a hash of the content
	names  map[string]string             // file name → path
}

type asset struct {
	kind string
	body []byte
}

func newLooks() (*looks, error) {
	l := &looks{pages: map[string]*template.Template{}, assets: map[string]asset{}, names: map[string]string{}}
	for file, kind := range map[string]string{
		"style.css": "text/css; charset=utf-8", "portal.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		body, err := assetFiles.ReadFile("assets/" + file)
		if err != nil {
			return nil, err
		}
		hash := sha256.Sum256(body)
		ext := path.Ext(file)
		name := strings.TrimSuffix(file, ext) + "-" + base64.RawURLEncoding.EncodeToString(hash[:9]) + ext
		l.assets[name], l.names[file] = asset{kind, body}, assetPath+name
	}
	return l, l.parse()
}

// parse compiles each page together with the layout around it and the parts they share.
func (l *looks) parse() error {
	shared, err := template.New("").Funcs(l.functions()).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return err
	}
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		return err
	}
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		page, err := shared.Clone()
		if err == nil {
			page, err = page.ParseFS(templateFiles, "templates/"+file.Name())
		}
		if err != nil {
			return fmt.Errorf("page %s: %w", name, err)
		}
		l.pages[name] = page
	}
	return nil
}

func (l *looks) functions() template.FuncMap {
	return template.FuncMap{
		"asset":    func(file string) string { return l.names[file] },
		"machine":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"people":   func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") },
		"seconds":  func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") },
		"join":     strings.Join,
		"count":    count,
		"bytes":    bytesText,
		"limiting": func(l identity.Restriction, n names) limiting { return limiting{l, n} },
		"grants":   func(view accessView, grants []policy.Grant) grantList { return grantList{view, grants} },
		"connect":  connectCommand,
		"revoking": func(token identity.TokenInfo, csrf, from, find string) revoking {
			return revoking{token, csrf, from, find}
		},
	}
}

// grantList, limiting and revoking are what the parts of those names are given.
type (
	grantList struct {
		View   accessView
		Grants []policy.Grant
	}
	limiting struct {
		identity.Restriction
		Names names
	}
	revoking struct {
		Token            identity.TokenInfo
		CSRF, From, Find string
	}
)

// count writes a number with its noun: "1 project", "3 projects".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// bytesText writes a size as people read it.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64) + " GiB"
	case n >= 1<<20:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	default:
		return strconv.FormatInt((n+1023)>>10, 10) + " KiB"
	}
}

// asset serves a file that never changes under its name.
func (p *Portal) asset(v *visit) error {
	a, ok := p.looks.assets[v.parameter]
	if !ok {
		return problem.New(http.StatusNotFound, problem.UnknownOperation, "There is nothing at this address.")
	}
	h := v.w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	return v.write(http.StatusOK, a.body)
}

// page is what the layout needs to know.
type page struct {
	Title   string
	Name    string // how the gateway's header names who is signed in; "" for a stranger
	CSRF    string
	Nav     []navItem
	Request string // request id
	Content any
}

type navItem struct {
	Title, Path string
	Current     bool
}

// show answers with a page.
func (p *Portal) show(v *visit, status int, name, title string, content any) error {
	view := page{Title: title, Request: v.id(), Content: content, Nav: p.nav(v)}
	if v.session != nil {
		view.CSRF, view.Name = v.session.CSRF, nameOf(v.caller)
	}
	var body bytes.Buffer
	if err := p.looks.pages[name].ExecuteTemplate(&body, "layout", view); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	// Not "no-referrer": with that, browsers send "Origin: null" with a form of our own.
	h.Set("Referrer-Policy", "same-origin")
	return v.write(status, body.Bytes())
}

// contentPolicy lets a page use this origin's files and forms and nothing else; nothing inline runs.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// json answers with a value.
func (v *visit) json(status int, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	v.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	v.w.Header().Set("Cache-Control", "no-store")
	return v.write(status, body)
}

// write sends a whole body. A client that is gone is nobody's error.
func (v *visit) write(status int, body []byte) error {
	v.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	v.w.WriteHeader(status)
	if v.r.Method != http.MethodHead {
		_, _ = v.w.Write(body)
	}
	return nil
}

// nav is the pages that this visitor has.
func (p *Portal) nav(v *visit) []navItem {
	if v.session == nil {
		return nil
	}
	items := []navItem{{Title: "Home", Path: homePath}, {Title: "Tokens", Path: tokensPath}, {Title: "Access", Path: accessPath}}
	if p.config.Quota != nil {
		items = append(items, navItem{Title: "Quota", Path: quotaPath})
	}
	if p.config.AuditLines != nil {
		items = append(items, navItem{Title: "Audit", Path: auditPath})
	}
	if v.rules.Admin(v.caller) {
		items = append(items, navItem{Title: "Administration", Path: adminPath})
	}
	for i := range items {
		items[i].Current = v.path == items[i].Path || items[i].Path != homePath && strings.HasPrefix(v.path, items[i].Path+"/")
	}
	return items
}
