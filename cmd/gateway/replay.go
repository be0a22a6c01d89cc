package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// replayCommand judges the recorded calls of an audit log by a policy and prints what would change.
func replayCommand(command *cobra.Command, loaded *config.Loaded, dir, since, until string) error {
	filter := audit.Filter{Phase: audit.Outcome}
	now := time.Now()
	var faults [2]error
	filter.Since, faults[0] = moment("since", since, now)
	filter.Until, faults[1] = moment("until", until, now)
	if err := errors.Join(faults[:]...); err != nil {
		return err
	}
	if err := audit.HasFiles(dir); err != nil { // a mistyped folder would pass for a log in which nothing changes
		return err
	}
	r := newReplay(loaded.Policy, loaded.Catalog)
	bar := newProgress(command.ErrOrStderr())
	for record, err := range audit.Search(command.Context(), dir, filter) {
		if err != nil {
			bar.clear()
			return err
		}
		r.take(&record)
		bar.count(r.judged, "calls judged")
	}
	bar.clear()
	if err := r.print(command.OutOrStdout()); err != nil {
		return err
	}
	if n := r.changed(); n > 0 {
		return fmt.Errorf("%s would be decided otherwise", counted(n, "recorded call"))
	}
	return nil
}

// Bounds of a replay's memory, whatever the length of the log: a group takes about 300 bytes, a caller with what policy
// works out of it about 500. Groups are combinations of teams, operations and rules, of which a policy has fewer.
const (
	maxGroups  = 10_000
	maxCallers = 10_000
)

// replay judges recorded calls by another policy and counts the decisions that would change.
type replay struct {
	rules   *policy.Policy
	catalog *catalog.Catalog
	callers map[callerKey]*identity.Caller // so that policy works out each caller once

	judged      int
	first, last time.Time
	changes     map[change]*group
	unjudged    map[string]*group // by the reason
}

// callerKey is what a record tells of a caller that policy can judge by.
type callerKey struct{ issuer, email, team string }

// change is a kind of decision that would change.
type change struct {
	allow           bool // what the policy would decide
	team, operation string
	rule            string // that would decide; for want of one, what is missing
}

// group counts calls of one kind and holds one of them as an example.
type group struct {
	calls   int
	last    time.Time
	request string
	target  string
}

func newReplay(rules *policy.Policy, cat *catalog.Catalog) *replay {
	return &replay{rules: rules, catalog: cat, callers: map[callerKey]*identity.Caller{}, changes: map[change]*group{}, unjudged: map[string]*group{}}
}

// take judges one record.
func (r *replay) take(record *audit.Record) {
	switch {
	case !record.Decision.Allow && (record.Decision.Reason == "" || record.Operation == ""):
		return // it ended before policy was asked: a stranger, or what the catalogue refused
	case strings.HasPrefix(record.Operation, "gateway-"):
		return // the gateway's own operations are the portal's to decide
	}
	op := r.catalog.Lookup(record.Operation)
	if op != nil && (op.Local || op.Refused != "") {
		return // no policy decides about it
	}
	if r.first.IsZero() {
		r.first = record.Time
	}
	r.last = record.Time
	decision, why := r.judge(record, op)
	switch {
	case why != "":
		count(r.unjudged, why, why, record)
		return
	case decision.Allow != record.Decision.Allow:
		key := change{decision.Allow, record.Team, record.Operation, r.because(record, decision)}
		count(r.changes, key, change{allow: decision.Allow, team: "(further)", operation: "(further)"}, record)
	}
	r.judged++
}

// count adds a record to its group; once there are too many groups, new ones share one.
func count[K comparable](groups map[K]*group, key, further K, record *audit.Record) {
	g := groups[key]
	if g == nil && len(groups) >= maxGroups {
		key = further
		g = groups[key]
	}
	if g == nil {
		g = &group{}
		groups[key] = g
	}
	g.calls++
	g.last, g.request = record.Time, record.RequestID
	g.target = cmp.Or(record.Target.Project, record.Target.Organization, record.Target.Kind)
}

// judge decides about a recorded call as the team it was recorded for. why says what the log lacks to judge it.
func (r *replay) judge(record *audit.Record, op *catalog.Operation) (decision policy.Decision, why string) {
	switch {
	case op == nil:
		return decision, "the catalogue has no such operation"
	case record.Team == "":
		return decision, "the log names no team: the caller had none, or several"
	}
	caller := r.caller(record)
	request := policy.Request{Op: op, Target: recordedTarget(record, op)}
	for i, effect := range effectsOf(record, op) {
		request.Effect = effect
		judged := r.rules.Decide(caller, record.Team, request, record.Time)
		if !judged.Allow {
			if lacks := lacking(r.rules.Wants(caller, record.Team, request, record.Time)); lacks != "" {
				return decision, lacks
			}
		}
		if i > 0 && judged.Allow != decision.Allow {
			return decision, "the log does not tell whether a refused query only read"
		}
		decision = judged
	}
	return decision, ""
}

// recordedTarget is what a call was about, as far as the log tells. A parent was recorded where one was looked up and found.
func recordedTarget(record *audit.Record, op *catalog.Operation) policy.Target {
	t := record.Target
	return policy.Target{
		Kind: op.Target, Project: t.Project, Organization: t.Organization, Parent: t.Parent,
		Branch: t.Project != "" && t.Parent != "" && t.Project != t.Parent, Resolved: t.Parent != "",
	}
}

// effectsOf is what a recorded call may have done. Where a body can make it a read, the log holds the hash of every body
// that went upstream and was none, and nothing of the body of a call that was refused.
func effectsOf(record *audit.Record, op *catalog.Operation) []catalog.Effect {
	switch {
	case op.ReadOnlyIf == "" || record.BodySHA256 != "":
		return []catalog.Effect{op.Effect}
	case record.Upstream.Status != 0:
		return []catalog.Effect{catalog.Read}
	default:
		return []catalog.Effect{op.Effect, catalog.Read}
	}
}

// lacking says which fact could turn a refusal, as far as the log holds it; "" where none could.
func lacking(wants policy.Wants) string {
	switch {
	case wants.Parent:
		return "the log does not tell whose branch the target is, if it is one"
	case wants.Organization:
		return "the log does not tell which organization the project is in"
	case wants.Project:
		return "the log does not tell which project the target belongs to"
	default:
		return ""
	}
}

// caller is somebody in the team of the record. Teams that have the recorded address as a member count too: their denies
// hold whatever team a call is made as.
func (r *replay) caller(record *audit.Record) *identity.Caller {
	key := callerKey{record.Caller.Issuer, record.Caller.Email, record.Team}
	if known := r.callers[key]; known != nil {
		return known
	}
	if len(r.callers) >= maxCallers {
		clear(r.callers)
	}
	c := &identity.Caller{Kind: identity.Kind(record.Caller.Kind), Issuer: key.issuer, Subject: record.Caller.Subject, Email: key.email, Teams: []string{key.team}}
	r.callers[key] = c
	return c
}

// because names what the new decision rests on, in words that many calls share.
func (r *replay) because(record *audit.Record, d policy.Decision) string {
	switch {
	case d.Rule != "":
		return d.Rule
	case !slices.Contains(r.rules.TeamNames(), record.Team):
		return "the policy has no such team"
	}
	rights := slices.DeleteFunc(slices.Clone(d.Missing), func(missing string) bool {
		kind, _, _ := strings.Cut(missing, ":")
		return kind == "project" || kind == "organization" || kind == "branches" // differs from call to call
	})
	return "no grant: " + cmp.Or(strings.Join(rights, " or "), "not on that target")
}

// changed is how many calls would be decided otherwise.
func (r *replay) changed() int {
	n := 0
	for _, g := range r.changes {
		n += g.calls
	}
	return n
}

// print writes the result: what would be refused, what would be allowed, and what could not be judged.
func (r *replay) print(out io.Writer) error {
	w := &lines{out: out}
	if r.judged == 0 && len(r.unjudged) == 0 {
		w.line("The log holds no calls that a policy decided about in that time.")
		return w.err
	}
	w.line("%s judged, %s to %s UTC: %d would be decided otherwise by %s.", counted(r.judged, "call"), stamp(r.first), stamp(r.last), r.changed(), r.rules.File())
	for _, allow := range []bool{false, true} {
		title := "Allowed then, refused by this policy:"
		if allow {
			title = "Refused then, allowed by this policy:"
		}
		keys := slices.SortedFunc(maps.Keys(r.changes), func(a, b change) int {
			return cmp.Or(-cmp.Compare(r.changes[a].calls, r.changes[b].calls), cmp.Compare(a.team, b.team), cmp.Compare(a.operation, b.operation), cmp.Compare(a.rule, b.rule))
		})
		for _, key := range keys {
			if key.allow != allow {
				continue
			}
			if title != "" {
				w.line("\n%s\n  %8s  %-16s  %-36s  %s", title, "CALLS", "TEAM", "OPERATION", "BY")
				title = ""
			}
			g := r.changes[key]
			w.line("  %8d  %-16s  %-36s  %s", g.calls, harmless(key.team), harmless(key.operation), harmless(key.rule))
			w.line("  %8s  last %s UTC on %s, request %s", "", stamp(g.last), harmless(g.target), harmless(g.request))
		}
	}
	if len(r.unjudged) > 0 {
		w.line("\nNot judged:")
		for _, why := range slices.Sorted(maps.Keys(r.unjudged)) {
			w.line("  %8d  %s (such as request %s)", r.unjudged[why].calls, why, harmless(r.unjudged[why].request))
		}
	}
	return w.err
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// lines writes lines until one fails.
type lines struct {
	out io.Writer
	err error
}

func (l *lines) line(format string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.out, format+"\n", args...)
	}
}
