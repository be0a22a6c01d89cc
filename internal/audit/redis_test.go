package audit_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/test/redis"
)

// stream is a stream of a running Redis, reached as the gateway reaches it.
func stream(t *testing.T, server *redis.Server, maxLen int64) *audit.Stream {
	t.Helper()
	b, err := backplane.Open(backplane.Config{URL: server.URL(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return audit.NewStream(b.Client(), "gateway:audit", maxLen)
}

// found are the lines of a search.
func found(t *testing.T, s *audit.Stream, f audit.Filter) []audit.Line {
	t.Helper()
	var all []audit.Line
	for l, err := range s.Lines(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// eventually waits for what Redis and the queue do by themselves.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestARedisStreamCarriesTheSameLines(t *testing.T) {
	t.Parallel()
	s := stream(t, redis.Start(t), 1000)
	l := open(t, audit.Config{Name: "replica-1", Sinks: []audit.Sink{{Shipper: s.Shipper("replica-1"), Required: true}}})
	wrote := intent(t, l)
	outcome(t, l, *wrote)
	seen := read()
	if err := l.Outcome(t.Context(), &seen); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	all := found(t, s, audit.Filter{})
	if len(all) != 3 || all[0].Record.ID != wrote.ID || all[2].Record.ID != seen.ID {
		t.Fatalf("found %+v", all)
	}
	for i, line := range all {
		if seq, ok := audit.ParseTail(line.Raw); !ok || seq != uint64(i+1) {
			t.Errorf("line %d: %s", i+1, line.Raw)
		}
	}
	for name, c := range map[string]struct {
		filter audit.Filter
		want   int
	}{
		"by phase":         {audit.Filter{Phase: audit.Intent}, 1},
		"the last":         {audit.Filter{Last: 2}, 2},
		"another replica":  {audit.Filter{Chain: "replica-2"}, 0},
		"this replica":     {audit.Filter{Chain: "replica-1"}, 3},
		"since the future": {audit.Filter{Since: time.Now().Add(time.Hour)}, 0},
		"until the past":   {audit.Filter{Until: time.Now().Add(-2 * time.Hour)}, 0},
		"since the past":   {audit.Filter{Since: time.Now().Add(-time.Hour)}, 3},
	} {
		if got := found(t, s, c.filter); len(got) != c.want {
			t.Errorf("%s: %d lines, want %d", name, len(got), c.want)
		}
	}
}

func TestARedisStreamIsBounded(t *testing.T) {
	t.Parallel()
	server := redis.Start(t)
	s := stream(t, server, 200)
	l := open(t, audit.Config{Sinks: []audit.Sink{{Shipper: s.Shipper("audit"), Required: true}}})
	for range 2000 {
		r := read()
		if err := l.Outcome(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	if n := server.Client().XLen(t.Context(), "gateway:audit").Val(); n < 200 || n > 400 { // Redis drops whole nodes of 100
		t.Errorf("%d entries, want about 200", n)
	}
	last := found(t, s, audit.Filter{Last: 150})
	if len(last) != 150 || last[149].Record.Seq != 2000 {
		t.Errorf("%d lines, the last %+v", len(last), last[len(last)-1].Record)
	}
}

func TestALineThatWasSentTwiceIsFoundOnce(t *testing.T) {
	t.Parallel()
	s := stream(t, redis.Start(t), 1000)
	var lines []byte
	keep := &audit.Shipper{Name: "kept", Send: func(_ context.Context, b []byte) error { lines = slices.Concat(lines, b); return nil }}
	l := open(t, audit.Config{Sinks: []audit.Sink{{Shipper: keep, Required: true}}})
	outcome(t, l, *intent(t, l))
	closeLog(t, l)
	ship := s.Shipper("audit")
	for range 2 { // as after an answer of Redis that was lost
		if err := ship.Send(t.Context(), lines); err != nil {
			t.Fatal(err)
		}
	}
	if n := bytes.Count(lines, []byte("\n")); len(found(t, s, audit.Filter{})) != n || len(found(t, s, audit.Filter{Last: 10})) != n {
		t.Errorf("found %d and %d lines, want %d", len(found(t, s, audit.Filter{})), len(found(t, s, audit.Filter{Last: 10})), n)
	}
}

func TestFollowingARedisStream(t *testing.T) {
	t.Parallel()
	s := stream(t, redis.Start(t), 1000)
	l := open(t, audit.Config{Sinks: []audit.Sink{{Shipper: s.Shipper("audit"), Required: true}}})
	first, second := intent(t, l), intent(t, l)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var got []string
	for line, err := range s.Follow(ctx, audit.Filter{Last: 1, Phase: audit.Intent}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, line.Record.ID); len(got) == 3 {
			break
		}
		first = second
		second = intent(t, l)
	}
	if got[1] != first.ID || got[2] != second.ID {
		t.Errorf("followed %q, want %s and %s at the end", got, first.ID, second.ID)
	}
}

// TestRedisGoneAndBack stops Redis in each way it can stop, under a sink that is required and one that is not.
func TestRedisGoneAndBack(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct{ away, back func(*redis.Server) }{
		"killed": {(*redis.Server).Kill, (*redis.Server).Restart},
		"paused": {(*redis.Server).Pause, (*redis.Server).Resume},
	} {
		for _, required := range []bool{true, false} {
			t.Run(name+"/required="+strconv.FormatBool(required), func(t *testing.T) {
				t.Parallel()
				server := redis.Start(t)
				s := stream(t, server, 10_000)
				c := files(t.TempDir())
				c.Timeout = 2 * time.Second
				c.Sinks = append(c.Sinks, audit.Sink{Shipper: s.Shipper("audit"), Required: required})
				l := open(t, c)
				outcome(t, l, *intent(t, l))

				fault.away(server)
				began := time.Now()
				r := write()
				err := l.Intent(t.Context(), &r)
				if took := time.Since(began); took > c.Timeout+time.Second {
					t.Errorf("the write was held for %v", took)
				}
				if required {
					refused(t, "Intent", err)
					refused(t, "Healthy", l.Healthy())
				} else if err != nil || l.Healthy() != nil || l.Accepting() != nil {
					t.Errorf("a sink that is not required stopped calls: %v", err)
				}
				eventually(t, "the failure to be counted", func() bool { return l.Stats()[1].Failed > 0 && l.Stats()[1].Err != nil })

				fault.back(server)
				eventually(t, "both sinks to record again", func() bool {
					again := write()
					return l.Intent(t.Context(), &again) == nil && l.Stats()[1].Err == nil
				})
				closeLog(t, l)
				notes := ""
				for _, line := range found(t, s, audit.Filter{Phase: audit.Note}) {
					notes += line.Record.Event + " "
				}
				if !strings.Contains(notes, "recovered") {
					t.Errorf("the stream's notes are %q, want one of the recovery", notes)
				}
				if !required && len(found(t, s, audit.Filter{Request: r.ID})) == 0 {
					t.Error("what was written meanwhile did not follow")
				}
			})
		}
	}
}

// late makes the first pipelines of a client time out.
type late struct{ times atomic.Int32 }

func (l *late) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (l *late) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }
func (l *late) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, commands []goredis.Cmder) error {
		if l.times.Add(-1) >= 0 {
			return os.ErrDeadlineExceeded
		}
		return next(ctx, commands)
	}
}

func TestOneTimeOutDoesNotFailARequiredStream(t *testing.T) {
	t.Parallel()
	client := redis.Start(t).Client()
	slow := &late{}
	slow.times.Store(2)
	client.AddHook(slow)
	s := audit.NewStream(client, "gateway:audit", 100)
	l := open(t, audit.Config{Sinks: []audit.Sink{{Shipper: s.Shipper("audit"), Required: true}}})
	r := intent(t, l)
	if stats := l.Stats()[0]; stats.Failed != 0 {
		t.Errorf("%d failed attempts, want none", stats.Failed)
	}
	if len(found(t, s, audit.Filter{Request: r.ID})) != 1 {
		t.Error("the intent is not in the stream")
	}
	closeLog(t, l)
}
