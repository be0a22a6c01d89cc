package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"corp.example/gateway/bench/rig"
)

// The paths that upstream answers.
var (
	small     = "/v1/projects/" + rig.Ref(0) + "/functions"        // 2 KB, cacheable
	large     = "/v1/projects/" + rig.Ref(1) + "/functions"        // 64 KB, cacheable
	asLarge   = "/v1/projects/" + rig.Ref(2) + "/functions"        // as large as the narrowed list, cacheable
	projects  = "/v1/projects"                                     // a list of 1,000, narrowed to 500
	forwarded = "/v1/projects/" + rig.Ref(0) + "/types/typescript" // 2 KB, never stored
)

// contender is one server under one kind of request.
type contender struct {
	name    string
	server  *rig.Process
	address string
	admin   string // the gateway's, for profiles
	request []byte
	asked   *atomic.Int64 // upstream's requests, where none is expected; nil: any number is
	micros  []float64
	perCore []float64
	body    int64
	fault   error // why it has no more turns
}

// comparison is one row that is a ratio of two contenders.
type comparison struct {
	what, ours, against string
	bar, stretch        float64
}

// comparisons are the ratios, as promised.
var comparisons = []comparison{
	{"cached read, minted token", "gateway: cached, minted token", "net/http handler", 1.25, 1.10},
	{"cached read, minted token, and a peer", "gateway: cached, minted token", "nginx: cache, token, log", 0, 0},
	{"cached read, JWT seen before", "gateway: cached, JWT", "net/http handler, JWT", 1.35, 1.20},
	{"cached read, 64 KB", "gateway: cached, 64 KB", "net/http handler, 64 KB", 1.25, 1.10},
	{"cached read, 64 KB, gzip", "gateway: cached, 64 KB gzip", "net/http handler, 64 KB gzip", 1.25, 1.10},
	{"narrowed list of 500 projects", "gateway: narrowed list", "gateway: cached, same size", 1.5, 1.2},
	{"forwarded read, embedded limiter", "gateway: forwarded", "ReverseProxy", 1.20, 1.05},
	{"forwarded read, embedded limiter, and a peer", "gateway: forwarded", "Caddy: proxy, token, log", 0.7, 0},
	{"forwarded read, Redis limiter", "gateway: forwarded, Redis", "ReverseProxy", 1.6, 1.35},
	{"forwarded read, and nginx", "gateway: forwarded", "nginx: proxy, token, log", 0, 0},
}

// latencies are the two that are compared at a fixed rate.
var latencies = comparison{"p99 of a cached read at 2,000/s", "gateway: cached, minted token", "net/http handler", 1.5, 1.1}

// pace is the fixed rate, in requests a second.
const pace = 2000

// measureRounds lets the contenders that any chosen row needs take turns, and adds those rows.
func measureRounds(r *report, o options, dir string, programs programs) error {
	var chosen []comparison
	needed := map[string]bool{}
	for _, c := range comparisons {
		if o.only.MatchString(c.what) {
			chosen = append(chosen, c)
			needed[c.ours], needed[c.against] = true, true
		}
	}
	paced := o.only.MatchString(latencies.what)
	if paced {
		needed[latencies.ours], needed[latencies.against] = true, true
	}
	if len(needed) == 0 {
		return nil
	}
	field, err := newField(dir, programs)
	defer field.close()
	if err != nil {
		return err
	}
	takePart := slices.DeleteFunc(field.contenders, func(c *contender) bool { return !needed[c.name] })
	var p99s []float64
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
		if err := field.round(takePart, o.turn); err != nil {
			return err
		}
		if paced {
			if ours, theirs := field.named(latencies.ours), field.named(latencies.against); cmp.Or(ours.fault, theirs.fault) == nil {
				var ratio float64
				ratio, ours.fault = pacedRound(ours, theirs, pacedLength*o.turn)
				p99s = append(p99s, ratio)
			}
		}
	}
	for _, c := range takePart {
		if c.fault != nil {
			continue
		}
		perCore, _ := middle(c.perCore)
		r.Costs = append(r.Costs, cost{c.name, c.micros, perCore, c.body})
		if err := c.profile(o.profiles, field.upstream); err != nil {
			return err
		}
	}
	for _, c := range chosen {
		r.add(field.compare(c, ratios(field.named(c.ours).micros, field.named(c.against).micros)))
	}
	if paced {
		r.add(field.compare(latencies, p99s))
	}
	return nil
}

// compare makes a row of the ratios of two contenders, or says why there are none.
func (f *field) compare(c comparison, rounds []float64) row {
	if err := cmp.Or(f.named(c.ours).fault, f.named(c.against).fault); err != nil {
		return row{What: c.what, Against: c.against, Unit: "×", Bar: c.bar, Stretch: c.stretch, Verdict: "not measured: " + err.Error()}
	}
	return newRow(c.what, c.against, "×", rounds, c.bar, c.stretch)
}

// changes is how often the contenders change within a round: what else the machine does comes and goes by the second, and so
// falls on all of them.
const changes = 4

// round measures each contender once, in short turns.
func (f *field) round(contenders []*contender, turn time.Duration) error {
	spent := make([]rig.Cost, len(contenders))
	for range changes {
		if err := rig.TouchMemory(); err != nil {
			return err
		}
		for i, c := range contenders {
			if c.fault == nil {
				c.fault = f.turn(c, turn/changes, &spent[i])
			}
		}
	}
	for i, c := range contenders {
		if c.fault != nil {
			continue
		}
		micros := float64(spent[i].PerRequest().Nanoseconds()) / 1000
		c.micros = append(c.micros, micros)
		c.perCore = append(c.perCore, 1e6/micros)
		c.body = spent[i].Body
	}
	return nil
}

// turn measures processor time for one request and adds it to what was spent before.
func (f *field) turn(c *contender, length time.Duration, spent *rig.Cost) error {
	var before int64
	if c.asked != nil {
		before = c.asked.Load()
	}
	cost, err := rig.Polled(c.server, c.address, c.request, f.upstream, length)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if c.asked != nil && c.asked.Load()-before > 1 { // the first one may be
		return fmt.Errorf("%s: upstream was asked %d times for what is to come from the cache", c.name, c.asked.Load()-before)
	}
	if cost.CPU == 0 || cost.Requests == 0 {
		return fmt.Errorf("%s: answered %d requests in %v and %v of processor time", c.name, cost.Requests, cost.Elapsed, cost.CPU)
	}
	spent.Add(cost)
	return nil
}

// The two that are compared at a fixed rate have several turns a round, none much shorter than a second: whatever a gateway does
// each second is then in every turn.
const (
	pacedLength = 3
	pacedTurns  = 7
)

// pacedRound asks two contenders at the same time and returns the ratio of their p99s. The latest hundredth of the answers decides
// it, and where a host takes the machine away for some milliseconds a turn tells of nothing else, though of both: hence the
// round's ratio is that of its middle turn.
func pacedRound(ours, theirs *contender, length time.Duration) (float64, error) {
	var turns []float64
	for range pacedTurns {
		took, err := rig.Paced([]rig.Target{{Address: ours.address, Request: ours.request}, {Address: theirs.address, Request: theirs.request}}, pace, length/pacedTurns)
		if err != nil {
			return 0, err
		}
		turns = append(turns, float64(rig.Percentile(took[0], 99))/float64(rig.Percentile(took[1], 99)))
	}
	median, _ := middle(turns)
	return median, nil
}

// profile writes a CPU profile of a gateway under this contender's load.
func (c *contender) profile(folder string, upstream *rig.PolledUpstream) error {
	if folder == "" || c.admin == "" {
		return nil
	}
	fetched := make(chan error, 1)
	go func() {
		fetched <- rig.Fetch("http://"+c.admin+"/debug/pprof/profile?seconds=5", filepath.Join(folder, fileName(c.name)+".pprof"))
	}()
	cost, err := rig.Polled(c.server, c.address, c.request, upstream, 6*time.Second)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "profiled %s: %d requests, %.1f s of CPU in %.1f s\n", c.name, cost.Requests, cost.CPU.Seconds(), cost.Elapsed.Seconds())
	return <-fetched
}

func fileName(name string) string {
	return string(bytes.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '-'
		}
	}, []byte(name)))
}

// ratios are those of each round.
func ratios(ours, theirs []float64) []float64 {
	var all []float64
	for i := range min(len(ours), len(theirs)) {
		all = append(all, ours[i]/theirs[i])
	}
	return all
}

// packed is what a client that accepts gzip gets for path from the cache, for the bare handler to write the same bytes.
func packed(address, path, token string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept-Encoding", "gzip")
	var body []byte
	for range 2 { // the first answer is not from the cache
		answer, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			return nil, err
		}
		body, err = io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	if _, err := gzip.NewReader(bytes.NewReader(body)); err != nil {
		return nil, fmt.Errorf("%s: %w: %.200q", path, err, body)
	}
	return body, nil
}
