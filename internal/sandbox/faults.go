package sandbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// FaultKind is what goes wrong.
type FaultKind string

// The kinds of fault.
const (
	FaultStatus   FaultKind = "status"   // answers Status instead of doing anything
	FaultReset    FaultKind = "reset"    // resets the connection
	FaultCut      FaultKind = "cut"      // ends the connection after Bytes of the answer's body
	FaultHang     FaultKind = "hang"     // never answers
	FaultRedirect FaultKind = "redirect" // sends the client to the same path at another Host
	FaultEcho     FaultKind = "echo"     // answers with the request's headers, credential included
	FaultSlow     FaultKind = "slow"     // sends the body in pieces of Bytes with a Pause before each
)

// Where FaultEcho puts the request's headers.
const (
	EchoBody   = "body"   // a JSON object, with status 200
	EchoError  = "error"  // the message of an error, with status 500
	EchoHeader = "header" // response headers of the same names behind "X-Echo-", beside the ordinary answer
)

// maxFaults bounds the rules, each of which costs every request a comparison.
const maxFaults = 100

// Fault is one rule: what goes wrong, for which requests, how often. The first rule that matches a request and whose
// turn it is decides; the others are not counted. As text it is what ParseFault reads.
type Fault struct {
	Kind        FaultKind
	Method      string            // empty: any
	Path        string            // prefix of the raw path; empty: any
	Probability float64           // chance that a matching request is hit; zero: always
	Times       int               // the rule ends after so many hits; zero: never
	Late        bool              // status, reset and hang: the operation is carried out first
	Status      int               // status: any; redirect: zero is 307; echo: zero is 200, or 500 into an error
	Header      map[string]string // status: headers of the answer, such as Retry-After
	Lacks       string            // status: names the answer gives as missing_permissions, with "+" between
	Bytes       int               // cut: body bytes that pass; slow: size of a piece, zero is 1024
	Pause       time.Duration     // slow: before each piece; zero is 50 ms
	Host        string            // redirect: an origin, such as "https://elsewhere.example"
	Into        string            // echo: EchoBody, EchoError or EchoHeader; empty is EchoBody
}

// FaultConfig is how badly the stand-in behaves. The zero value behaves well.
type FaultConfig struct {
	Latency time.Duration // added to every answer
	Jitter  time.Duration // up to so much more, evenly spread
	Rules   []Fault
}

func (f Fault) withDefaults() Fault {
	f.Method = strings.ToUpper(f.Method)
	switch f.Kind {
	case FaultRedirect:
		f.Status = orDefault(f.Status, http.StatusTemporaryRedirect)
	case FaultSlow:
		f.Bytes = orDefault(f.Bytes, 1024)
		f.Pause = orDefault(f.Pause, 50*time.Millisecond)
	case FaultEcho:
		f.Into = orDefault(f.Into, EchoBody)
	}
	return f
}

// orDefault returns v, or d where v is the zero value.
func orDefault[T comparable](v, d T) T {
	if v == *new(T) {
		return d
	}
	return v
}

// validate reports every fault of a rule that has its defaults.
func (f Fault) validate() error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	kinds := []FaultKind{FaultStatus, FaultReset, FaultCut, FaultHang, FaultRedirect, FaultEcho, FaultSlow}
	if !slices.Contains(kinds, f.Kind) {
		add("kind %q: use status, reset, cut, hang, redirect, echo or slow", f.Kind)
	}
	if f.Kind == FaultStatus && (f.Status < 200 || f.Status > 599) {
		add("status %d: use 200 to 599", f.Status)
	}
	if f.Kind == FaultRedirect && (f.Status < 300 || f.Status > 399) {
		add("status %d: a redirect needs 300 to 399", f.Status)
	}
	if f.Kind == FaultRedirect {
		if u, err := url.Parse(f.Host); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
			add("host %q: use an origin such as https://elsewhere.example", f.Host)
		}
	}
	if f.Kind == FaultEcho && f.Into != EchoBody && f.Into != EchoError && f.Into != EchoHeader {
		add("into %q: use body, error or header", f.Into)
	}
	if !(f.Probability >= 0 && f.Probability <= 1) {
		add("probability %v: use a chance from 0 to 1", f.Probability)
	}
	if f.Times < 0 || f.Bytes < 0 || f.Pause < 0 {
		add("times, bytes and pause cannot be negative")
	}
	return errors.Join(faults...)
}

// Faults delays and spoils answers. It is safe for concurrent use.
type Faults struct {
	chance func() float64 // uniform in [0, 1)

	mu              sync.Mutex
	latency, jitter time.Duration
	rules           []*rule
}

// rule is a Fault with what is left of it.
type rule struct {
	Fault
	hits int
}

// newFaults returns a handler that behaves as badly as c says.
func newFaults(c FaultConfig) (*Faults, error) {
	f := &Faults{chance: rand.Float64}
	if err := f.Delay(c.Latency, c.Jitter); err != nil {
		return nil, err
	}
	return f, f.Add(c.Rules...)
}

// Delay sets what is added to every answer: latency, and up to jitter more. About half of it, at random, passes before
// the request is counted and carried out, as on a real line.
func (f *Faults) Delay(latency, jitter time.Duration) error {
	if latency < 0 || jitter < 0 {
		return fmt.Errorf("latency %v and jitter %v cannot be negative", latency, jitter)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latency, f.jitter = latency, jitter
	return nil
}

// Add appends rules behind those that stand. When one is invalid none is added.
func (f *Faults) Add(faults ...Fault) error {
	rules, err := newRules(faults)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rules)+len(rules) > maxFaults {
		return fmt.Errorf("more than %d faults", maxFaults)
	}
	f.rules = append(f.rules, rules...)
	return nil
}

// Replace puts rules in place of those that stand. When one is invalid nothing changes.
func (f *Faults) Replace(faults ...Fault) error {
	rules, err := newRules(faults)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
	return nil
}

func newRules(faults []Fault) ([]*rule, error) {
	if len(faults) > maxFaults {
		return nil, fmt.Errorf("more than %d faults", maxFaults)
	}
	var rules []*rule
	for i, fault := range faults {
		fault = fault.withDefaults()
		if err := fault.validate(); err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		rules = append(rules, &rule{Fault: fault})
	}
	return rules, nil
}

// Clear removes every rule; the delay stays.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Rules returns the rules that stand, those with Times reduced by what was used.
func (f *Faults) Rules() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []Fault{}
	for _, r := range f.rules {
		left := r.Fault
		if left.Times > 0 {
			left.Times -= r.hits
		}
		out = append(out, left)
	}
	return out
}

// pick returns the fault that hits this request, if any, and spends it.
func (f *Faults) pick(method, path string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range f.rules {
		if r.Method != "" && r.Method != method || !strings.HasPrefix(path, r.Path) {
			continue
		}
		if r.Probability > 0 && f.chance() >= r.Probability {
			continue
		}
		r.hits++
		if r.hits == r.Times {
			f.rules = slices.Delete(slices.Clone(f.rules), i, i+1)
		}
		return r.Fault, true
	}
	return Fault{}, false
}

// delay draws how long one answer takes, as the parts before and after the work.
func (f *Faults) delay() (before, after time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	total := f.latency + time.Duration(f.chance()*float64(f.jitter))
	before = time.Duration(f.chance() * float64(total))
	return before, total - before
}
