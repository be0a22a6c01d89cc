package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/sandbox"
)

const (
	// sandboxOwner owns the tokens that are given without an owner, and the one that is made up.
	sandboxOwner = "platform-bot"

	// sandboxGrace is how long requests may run on after the signal to stop. Those that a fault hangs would run for ever.
	sandboxGrace = time.Second
)

// sandboxFlags is the command line of `gateway sandbox`, before it is understood.
type sandboxFlags struct {
	listen  string
	tokens  []string
	clients []string
	faults  []string
	config  sandbox.Config
}

func sandboxCommand() *cobra.Command {
	var f sandboxFlags
	command := &cobra.Command{
		Use:   "sandbox",
		Short: "Run the stand-in upstream by itself",
		Long: `Runs a stand-in for the Supabase Management API, with two organizations and eight projects in it.
It keeps everything in memory and forgets it at its end. Point a gateway's upstream.url, or a
client, at it.

It prints the address it listens at and the tokens it accepts. What it does wrong can be changed
while it runs, and what it received can be read, under /_sandbox/, from this machine only:

  GET, DELETE              /_sandbox/requests   what was received; forget it
  GET, POST, PUT, DELETE   /_sandbox/faults     the rules, as a JSON array of what --fault takes
  PUT                      /_sandbox/delay      {"latency": "50ms", "jitter": "10ms"}
  GET, PUT                 /_sandbox/limits     the rate limits and what they counted
  POST                     /_sandbox/spend      {"owner": …, "scope": "project:…", "operation": …, "n": 5}

A fault is a kind, then what it applies to, separated by commas:

  status=503,method=GET,path=/v1/projects,times=2      the next two
  status=429,header=Retry-After: 5,probability=0.1     one in ten
  status=403,lacks=infra_disk_config_read              what a scoped token lacks
  reset,late           carry the operation out, then reset the connection
  cut=1024             end the connection after so many bytes of body
  hang                 never answer
  redirect=https://elsewhere.example
  echo=error           hand the request's headers back; also echo=body, echo=header
  slow=50ms,bytes=512  a pause before each piece of the body`,
		Example: `  # behave as upstream was recorded
  gateway sandbox

  # a known token, windows of one second, and the reset in milliseconds
  gateway sandbox --token sbp_0123456789abcdef0123456789abcdef01234567 --window 1s --reset-unit milliseconds

  # a bad day: slow, one answer in twenty lost after it was carried out, others spending the quota
  gateway sandbox --latency 80ms --jitter 70ms --fault reset,late,probability=0.05 --outsider 0.1

  # add a fault to the running one
  curl -d '["status=500,times=1"]' http://127.0.0.1:9901/_sandbox/faults`,
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error { return f.run(command.Context(), command.OutOrStdout()) },
	}
	f.define(command)
	return command
}

// define adds the flags. Their defaults are what upstream does as far as it is known.
func (f *sandboxFlags) define(command *cobra.Command) {
	flags := command.Flags()
	flags.SortFlags = false // they are grouped by what they switch
	c, limits, faults := &f.config, &f.config.Limits, &f.config.Faults
	flags.StringVar(&f.listen, "listen", "127.0.0.1:9901", "address to listen at; port 0 takes a free one")
	flags.StringArrayVar(&f.tokens, "token", nil, "accepted token, or OWNER=TOKEN; repeatable; tokens of one owner share a quota (default: one is made up)")
	flags.StringArrayVar(&f.clients, "oauth-client", nil, "OAuth app that may ask for tokens, as ID=SECRET; repeatable")
	flags.DurationVar(&c.OAuth.Life, "oauth-life", 24*time.Hour, "how long the tokens of OAuth apps live")
	flags.BoolVar(&c.OAuth.KeepRefresh, "oauth-keep-refresh", false, "refresh tokens of OAuth apps may be used again")

	flags.BoolVar(&limits.Off, "no-limits", false, "count no requests")
	flags.DurationVar(&limits.Window, "window", time.Minute, "length of the standard rate-limit window; the others scale with it")
	flags.StringVar((*string)(&limits.ResetUnit), "reset-unit", string(sandbox.Seconds), "unit of X-RateLimit-Reset: seconds or milliseconds")
	flags.StringVar((*string)(&limits.Granularity), "granularity", string(sandbox.PerScope), "what one window counts: scope or endpoint")
	flags.BoolVar(&limits.BlockOnOvershoot, "block-on-overshoot", false, "one request too many blocks for a whole further window, and each one meanwhile prolongs it")
	flags.StringVar((*string)(&limits.Headers), "headers", string(sandbox.HeadersRecorded), "answers with X-RateLimit headers: recorded (all but POST /v1/organizations), always or never")
	flags.BoolVar(&limits.Bare429, "bare-429", false, "a 429 carries Retry-After and no X-RateLimit headers")
	flags.Float64Var(&limits.Outsider, "outsider", 0, "chance, 0 to 1, that each request is joined by somebody else's from the same quota")

	flags.DurationVar(&faults.Latency, "latency", 0, "added to every answer")
	flags.DurationVar(&faults.Jitter, "jitter", 0, "up to so much more, at random")
	flags.StringArrayVar(&f.faults, "fault", nil, "something that goes wrong (see above); repeatable, the first that matches decides")
	flags.BoolVar(&c.Logs410, "logs-gone", false, "logs.all answers 410, its successor logs stays")
	flags.DurationVar(&c.Settle, "settle", 2*time.Second, "how long a project takes to start, pause or restore")
	flags.Int64Var(&c.KeptBody, "kept-body", 4<<20, "function bundles above so many bytes are counted and hashed, not kept")
}

// understand completes the configuration from the flags that need parsing. It reports every fault at once.
func (f *sandboxFlags) understand() (sandbox.Config, error) {
	var faults []error
	c := f.config
	c.Tokens = map[string]string{}
	for _, value := range f.tokens {
		owner, token, named := strings.Cut(value, "=")
		if !named {
			owner, token = sandboxOwner, value
		}
		if owner == "" || token == "" {
			faults = append(faults, errors.New("--token: use TOKEN or OWNER=TOKEN"))
		}
		c.Tokens[token] = owner
	}
	if len(f.tokens) == 0 {
		c.Tokens[newSandboxToken()] = sandboxOwner
	}
	c.OAuth.Clients = map[string]string{}
	for _, value := range f.clients {
		id, secret, _ := strings.Cut(value, "=")
		if id == "" || secret == "" {
			faults = append(faults, errors.New("--oauth-client: use ID=SECRET"))
		}
		c.OAuth.Clients[id] = secret
	}
	for _, text := range f.faults {
		fault, err := sandbox.ParseFault(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("--fault: %w", err))
			continue
		}
		c.Faults.Rules = append(c.Faults.Rules, fault)
	}
	return c, errors.Join(faults...)
}

// newSandboxToken makes a token of the form that every client accepts.
func newSandboxToken() string {
	random := make([]byte, 20)
	rand.Read(random) // never fails: crypto/rand ends the process instead
	return "sbp_" + hex.EncodeToString(random)
}

// run serves until ctx ends.
func (f *sandboxFlags) run(ctx context.Context, stdout io.Writer) error {
	config, err := f.understand()
	if err != nil {
		return err
	}
	upstream, err := sandbox.New(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", f.listen, err)
	}
	server := &http.Server{
		Handler:           upstream,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10, // the log keeps the headers of thousands of requests
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	tellSandbox(stdout, listener.Addr(), config.Tokens)
	select {
	case err := <-served:
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), sandboxGrace)
	defer cancel()
	if server.Shutdown(grace) != nil {
		server.Close() // what still runs now is hung on purpose, or its client does not read
	}
	return nil
}

// tellSandbox prints what a script or a person needs to begin: a word and a value a line.
func tellSandbox(stdout io.Writer, address net.Addr, tokens map[string]string) {
	url := "http://" + address.String()
	fmt.Fprintf(stdout, "listening  %s\nswitches   %s/_sandbox/\n", url, url)
	for _, token := range slices.Sorted(maps.Keys(tokens)) {
		fmt.Fprintf(stdout, "token      %s  (owner %s)\n", token, tokens[token])
	}
	if len(tokens) > 0 {
		token := slices.Min(slices.Collect(maps.Keys(tokens)))
		fmt.Fprintf(stdout, "try        curl -H 'Authorization: Bearer %s' %s/v1/projects\n", token, url)
	}
}
