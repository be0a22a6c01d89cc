package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"slices"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/config"
)

// operatorChain names the chain of what is done on the command line: the running gateway holds its own.
func operatorChain(name string) string {
	const suffix = "-operator"
	return name[:min(len(name), 40-len(suffix))] + suffix // 40 is the bound of a name
}

// commandsWait is how long a command waits for another one to be recorded, which takes some milliseconds.
const commandsWait = 5 * time.Second

// openOperatorLog opens the audit log for one command: the sinks of the configuration but standard output, which is the
// command's own. end closes it.
func openOperatorLog(loaded *config.Loaded, getenv func(string) string) (log *audit.Log, end func() error, err error) {
	g := &gateway{config: loaded, getenv: getenv, log: slog.New(slog.DiscardHandler)}
	end = func() error {
		err := g.closeAudit()
		if g.backplane != nil {
			err = errors.Join(err, g.backplane.Close())
		}
		return err
	}
	settings := loaded.Audit
	settings.Name = operatorChain(settings.Name)
	settings.Sinks = slices.DeleteFunc(slices.Clone(settings.Sinks), func(s config.Sink) bool { return s.Stdout })
	if len(settings.Sinks) == 0 {
		return nil, nil, errors.New("audit.sinks names standard output alone, where a command cannot record what it does: add a file sink")
	}
	if loaded.State.Redis != nil {
		if g.backplane, err = openRedis(loaded.State.Redis, getenv, g.log); err != nil {
			return nil, nil, err
		}
	}
	for deadline := time.Now().Add(commandsWait); ; time.Sleep(20 * time.Millisecond) { // another command tells nobody that it ends
		if err = g.openAudit(&settings); !errors.Is(err, audit.ErrBusy) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("nothing is done that cannot be recorded: %w", err), end())
	}
	return g.audit, end, nil
}

// ruleOperator is why a command may change tokens and credentials, as the audit record says it.
const ruleOperator = "built in: whoever may read state.dir may"

// operatorLog opens the audit log for one command, and returns what closes it. Nil: nothing is recorded.
type operatorLog func() (log *audit.Log, end func() error, err error)

// operatorLogOf is the log of the commands on one configuration.
func operatorLogOf(loaded *config.Loaded, getenv func(string) string) operatorLog {
	return func() (*audit.Log, func() error, error) { return openOperatorLog(loaded, getenv) }
}

// recorded does what its record announces: as in the portal, nothing is done before the intent is on stable storage. do
// returns what it did, for people.
func (open operatorLog) recorded(ctx context.Context, operation, detail string, do func() (string, error)) (err error) {
	if open == nil {
		_, err := do()
		return err
	}
	log, end, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	record := audit.Record{Operation: operation, Detail: detail, Caller: audit.Caller{Kind: "operator", Subject: operator()},
		Target: audit.Target{Kind: "account"}, Decision: audit.Decision{Allow: true, Rule: ruleOperator}}
	if err := log.Intent(ctx, &record); err != nil {
		return plain(err)
	}
	done, failed := do()
	if record.Outcome = "failed"; failed == nil {
		record.Outcome, record.Detail = "ok", done
	}
	return errors.Join(failed, log.Outcome(context.WithoutCancel(ctx), &record))
}

// operator is who the operating system says runs the command.
func operator() string {
	who, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return who.Username
}
