package main

import (
	"bufio"
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/strictyaml"
)

// auditPlaces find the audit log of a configuration.
type auditPlaces struct {
	dir    func(path string) (string, error)                                          // of its files
	source func(path, which string) (source auditSource, end func() error, err error) // to search; which is one of the following
}

// The values of --source.
const (
	sourceAuto  = "auto"
	sourceFiles = "files"
	sourceRedis = "redis"
)

// auditCommand groups the commands on the audit log. They read it and work beside a running gateway.
func auditCommand(places auditPlaces) *cobra.Command {
	command := &cobra.Command{
		Use:   "audit",
		Short: "Search, verify and follow the audit log",
		Long: `Searches, verifies and follows the audit log. Name the log's directory, or with --config the
configuration that names it. All of it works beside a running gateway.`,
	}
	path := command.PersistentFlags().String("config", "", "path of gateway.yaml, instead of DIR")
	_ = command.MarkPersistentFlagFilename("config", "yaml") // fails only for a flag that does not exist
	named := func(args []string) error {
		switch {
		case len(args) == 1 && *path != "":
			return errors.New("name either the log's directory or --config, not both")
		case len(args) == 0 && *path == "":
			return errors.New("name the log's directory, or the configuration by --config FILE")
		}
		return nil
	}
	dir := func(args []string) (string, error) {
		switch err := named(args); {
		case err != nil:
			return "", err
		case len(args) == 1:
			return args[0], nil
		}
		return places.dir(*path)
	}
	source := func(args []string, which string) (auditSource, func() error, error) {
		switch err := named(args); {
		case err != nil:
			return nil, nil, err
		case which != sourceAuto && which != sourceFiles && which != sourceRedis:
			return nil, nil, fmt.Errorf("--source %q: want auto, files or redis", which)
		case len(args) == 1 && which == sourceRedis:
			return nil, nil, errors.New("--source redis needs --config, which says where Redis is")
		case len(args) == 1:
			return audit.Dir(args[0]), func() error { return nil }, nil
		}
		return places.source(*path, which)
	}
	command.AddCommand(auditSearch(source), auditTail(source), auditVerify(dir))
	return command
}

// openSource opens the log that arguments and --source name.
type openSource func(args []string, which string) (source auditSource, end func() error, err error)

func sourceFlag(command *cobra.Command) *string {
	return command.Flags().String("source", sourceAuto, "where to read: files, redis (the stream), or auto: files where there are any")
}

// auditFilter adds the flags that say which records are wanted and returns what makes them a filter.
func auditFilter(command *cobra.Command) func(now time.Time) (audit.Filter, error) {
	var f audit.Filter
	var since, until, phase string
	flags := command.Flags()
	flags.StringVar(&since, "since", "", "from then on: a duration back from now (90m, 24h, 30d) or a time (2026-01-02T15:04:05Z)")
	flags.StringVar(&until, "until", "", "before then, likewise")
	flags.StringVar(&f.Actor, "actor", "", "who: a subject, an e-mail address or a token's public id")
	flags.StringVar(&f.Team, "team", "", "the team a call was made for")
	flags.StringVar(&f.Project, "project", "", "the project's ref")
	flags.StringVar(&f.Operation, "operation", "", "the operation's id, such as v1-get-project")
	flags.StringVar(&f.Decision, "decision", "", "what the policy said: allow or deny")
	flags.IntVar(&f.Status, "status", 0, "the status the client was told")
	flags.StringVar(&f.Request, "request", "", "a request id, or a record's id")
	flags.StringVar(&f.Chain, "chain", "", "only this replica's log")
	flags.StringVar(&phase, "phase", string(audit.Outcome), "outcome, intent, note (what the log says of itself) or all (intents and outcomes)")
	return func(now time.Time) (audit.Filter, error) {
		var faults [2]error
		f.Since, faults[0] = moment("since", since, now)
		f.Until, faults[1] = moment("until", until, now)
		if f.Phase = audit.Phase(phase); phase == "all" {
			f.Phase = ""
		}
		return f, errors.Join(faults[:]...)
	}
}

// moment reads a time, or a duration back from now.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	var back strictyaml.Duration
	if err := back.UnmarshalText([]byte(text)); err != nil {
		return time.Time{}, fmt.Errorf("--%s %q: want a duration such as 24h or 30d, or a time such as 2026-01-02T15:04:05Z", flag, text)
	}
	return now.Add(-time.Duration(back)), nil
}

// auditFormat adds --format and returns how a record is printed.
func auditFormat(command *cobra.Command) func(io.Writer) (func(audit.Line) error, error) {
	format := command.Flags().String("format", "table", "table, or json: the lines as they stand in the log")
	return func(out io.Writer) (func(audit.Line) error, error) {
		switch *format {
		case "json":
			return func(l audit.Line) error {
				_, err := fmt.Fprintf(out, "%s\n", l.Raw)
				return err
			}, nil
		case "table":
			rows := table{out: out, widths: [5]int{23, 28, 14, 34, 20}}
			return func(l audit.Line) error { return rows.print(&l.Record) }, nil
		}
		return nil, fmt.Errorf("--format %q: want table or json", *format)
	}
}

func auditSearch(open openSource) *cobra.Command {
	command := &cobra.Command{
		Use:   "search [DIR]",
		Short: "Find records, oldest first",
		Example: `  gateway audit search --config gateway.yaml --since 24h --decision deny
  gateway audit search ./data/audit --actor ada@corp.example --format json | jq .path`,
		Args: cobra.MaximumNArgs(1),
	}
	filter, format, which := auditFilter(command), auditFormat(command), sourceFlag(command)
	last := command.Flags().Int("last", 0, "only the last so many records")
	command.RunE = func(command *cobra.Command, args []string) (err error) {
		source, end, err := open(args, *which)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
		f, err := filter(time.Now())
		if err != nil {
			return err
		}
		f.Last = *last
		out := bufio.NewWriter(command.OutOrStdout())
		show, err := format(out)
		if err != nil {
			return err
		}
		found, err := printAll(source.Lines(command.Context(), f), show)
		if found == 0 && err == nil {
			command.PrintErrln("no record matches")
		}
		return errors.Join(err, out.Flush())
	}
	return command
}

func auditTail(open openSource) *cobra.Command {
	command := &cobra.Command{
		Use:     "tail [DIR]",
		Short:   "Show the last records, and with -f those that come",
		Example: "  gateway audit tail -f --config gateway.yaml --team payments",
		Args:    cobra.MaximumNArgs(1),
	}
	filter, format, which := auditFilter(command), auditFormat(command), sourceFlag(command)
	last := command.Flags().IntP("lines", "n", 10, "how many records to begin with")
	follow := command.Flags().BoolP("follow", "f", false, "go on until interrupted")
	command.RunE = func(command *cobra.Command, args []string) (err error) {
		source, end, err := open(args, *which)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
		f, err := filter(time.Now())
		if err != nil {
			return err
		}
		show, err := format(command.OutOrStdout())
		if err != nil {
			return err
		}
		f.Last = *last
		lines := source.Lines
		switch {
		case *follow:
			lines = source.Follow
		case *last == 0:
			return nil
		}
		_, err = printAll(lines(command.Context(), f), show)
		return err
	}
	return command
}

// printAll returns how many there were.
func printAll(lines iter.Seq2[audit.Line, error], show func(audit.Line) error) (n int, err error) {
	for l, err := range lines {
		if err != nil {
			return n, err
		}
		if err := show(l); err != nil {
			return n, fmt.Errorf("printing records: %w", err)
		}
		n++
	}
	return n, nil
}

// table prints records in columns. It streams, so that it cannot wait to see the widest cell: a column grows with the first
// that does not fit, and stays so.
type table struct {
	out    io.Writer
	titled bool
	widths [5]int // of all columns but the last
}

func (t *table) print(r *audit.Record) error {
	cells := [...]string{harmless(actor(r)), harmless(r.Team), harmless(cmp.Or(r.Operation, r.Method+" "+r.Path)),
		harmless(cmp.Or(r.Target.Project, r.Target.Organization, r.Target.Kind)), harmless(result(r))}
	if r.Phase == audit.Note {
		cells = [...]string{"(the log)", "", r.Event, "", harmless(r.Detail)}
	}
	at := r.Time.UTC().Format("2006-01-02 15:04:05.000")
	for i, cell := range cells[:4] {
		t.widths[i+1] = max(t.widths[i+1], utf8.RuneCountInString(cell))
	}
	if !t.titled {
		t.titled = true
		if err := t.row("TIME", "ACTOR", "TEAM", "OPERATION", "TARGET", "RESULT"); err != nil {
			return err
		}
	}
	return t.row(at, cells[0], cells[1], cells[2], cells[3], cells[4])
}

func (t *table) row(at, actor, team, operation, target, result string) error {
	w := t.widths
	_, err := fmt.Fprintf(t.out, "%-*s  %-*s  %-*s  %-*s  %-*s  %s\n", w[0], at, w[1], actor, w[2], team, w[3], operation, w[4], target, result)
	return err
}

// actor is who made a call, and with which token.
func actor(r *audit.Record) string {
	who := cmp.Or(r.Caller.Email, r.Caller.Subject, r.Client.IP.String())
	if r.Caller.Token != "" {
		who += " by " + r.Caller.Token
	}
	return who
}

// result says in a few words how a call ended.
func result(r *audit.Record) string {
	switch {
	case r.Phase == audit.Intent:
		return "intent"
	case r.Outcome == audit.Unknown:
		return "unknown: the gateway died meanwhile"
	case !r.Decision.Allow:
		return fmt.Sprintf("%d denied: %s", r.Status, cmp.Or(r.Decision.Reason, r.Outcome))
	}
	words := []string{fmt.Sprint(r.Status), cmp.Or(r.Outcome, "ok")}
	if r.Cache != "" {
		words = append(words, "cache "+r.Cache)
	}
	if r.Queue >= tenth {
		words = append(words, "queued "+r.Queue.Round(tenth).String())
	}
	if r.Upstream.Status != 0 {
		words = append(words, fmt.Sprintf("upstream %d in %v", r.Upstream.Status, r.Upstream.Duration.Round(tenth)))
	}
	return strings.Join(words, ", ")
}

// tenth of a millisecond is as exactly as a person wants to know.
const tenth = 100 * time.Microsecond

func auditVerify(place func([]string) (string, error)) *cobra.Command {
	command := &cobra.Command{
		Use:   "verify [DIR]",
		Short: "Check that no line was edited, removed, inserted, reordered or cut off",
		Long: `Reads every line of every chain, checks the hash chain and the signed checkpoints, and names the
first line that does not hold. The exit status is 1 when one does not.

Without --key the public keys are taken from beside the log. Whoever could change the log could
change them too: keep a copy of NAME.pub elsewhere and name it.`,
		Args: cobra.MaximumNArgs(1),
	}
	keyFiles := command.Flags().StringArray("key", nil, "a PEM file with the public keys, or the private key, to trust; may be repeated")
	chain := command.Flags().String("chain", "", "only this replica's log")
	command.RunE = func(command *cobra.Command, args []string) error {
		dir, err := place(args)
		if err != nil {
			return err
		}
		var keys []ed25519.PublicKey
		for _, path := range *keyFiles {
			more, err := audit.ReadKeys(path)
			if err != nil {
				return err
			}
			keys = append(keys, more...)
		}
		bar := newProgress(command.ErrOrStderr())
		reports, err := audit.Verify(command.Context(), dir, audit.VerifyOptions{Keys: keys, Chain: *chain, Progress: bar.show})
		bar.clear()
		broken := 0
		for i := range reports {
			printReport(command.OutOrStdout(), &reports[i])
			if reports[i].Fault != nil {
				broken++
			}
		}
		if err == nil && broken > 0 {
			err = fmt.Errorf("%d of %d audit chains do not hold", broken, len(reports))
		}
		return err
	}
	return command
}

func printReport(out io.Writer, r *audit.Report) {
	const layout = "2006-01-02 15:04:05"
	fmt.Fprintf(out, "chain %s: %s in %s, %s\n", r.Chain, counted(r.Lines, "line"), counted(r.Files, "file"), counted(r.Checkpoints, "checkpoint"))
	if r.Fault == nil {
		fmt.Fprintf(out, "  whole: lines %d to %d, %s to %s UTC\n", r.First, r.Last, r.From.Format(layout), r.To.Format(layout))
		if unsigned := r.Last - r.Signed; unsigned == 0 {
			fmt.Fprintln(out, "  signed to the end")
		} else {
			fmt.Fprintf(out, "  signed up to line %d; what follows, %s, is chained only\n", r.Signed, counted(unsigned, "line"))
		}
		fmt.Fprintf(out, "  last line's hash: %s\n", r.Head)
	} else {
		fmt.Fprintf(out, "  FAULT %s\n", harmless(r.Fault.Error()))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "  note: %s\n", harmless(note))
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(out, "  warning: %s\n", harmless(warning))
	}
}

// counted says how many things there are.
func counted[N int | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// harmless makes text from outside safe to print on a terminal: no control characters, and nothing that turns the
// direction of text, which could make one record look like another.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
