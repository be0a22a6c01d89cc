package proxy

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"corp.example/gateway/internal/policy"
)

// LastAnswer is when upstream was last asked and what it answered; status 0 means that no answer came, and a zero time
// that it has not been asked yet.
type LastAnswer struct {
	Status int
	At     time.Time
}

// LastAnswer returns what came of the last exchange with upstream.
func (p *Proxy) LastAnswer() LastAnswer {
	if last := p.metrics.lastAnswer.Load(); last != nil {
		return *last
	}
	return LastAnswer{}
}

// Shadow is how often a shadow rule would have decided otherwise.
type Shadow struct {
	Rule  string
	Allow bool // what it would have decided
	Calls int  // since the gateway started
	Last  time.Time
}

// Shadows returns the shadow rules that would have decided otherwise, the busiest first. A rule is named by its line: one
// that a reload moved counts anew.
func (p *Proxy) Shadows() []Shadow { return p.shadows.all() }

// maxShadows bounds the rules that are counted: a policy has few on trial, but may be reloaded for months.
const maxShadows = 1000

// shadows counts by rule.
type shadows struct {
	mu     sync.Mutex
	byRule map[policy.Shadow]*Shadow
}

// count notes one call that the shadow rule would have decided otherwise.
func (s *shadows) count(shadow policy.Shadow, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counted := s.byRule[shadow]
	if counted == nil {
		if len(s.byRule) >= maxShadows {
			return
		}
		if s.byRule == nil {
			s.byRule = map[policy.Shadow]*Shadow{}
		}
		counted = &Shadow{Rule: shadow.Rule, Allow: shadow.Allow}
		s.byRule[shadow] = counted
	}
	counted.Calls++
	counted.Last = now
}

func (s *shadows) all() []Shadow {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Shadow, 0, len(s.byRule))
	for _, counted := range s.byRule {
		all = append(all, *counted)
	}
	slices.SortFunc(all, func(a, b Shadow) int { return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Rule, b.Rule)) })
	return all
}

// shadowed counts a decision that a shadow rule would have taken otherwise, in the metrics too.
func (p *Proxy) shadowed(x *exchange) {
	shadow := x.decision.Shadow
	if !shadow.Changes() {
		return
	}
	p.shadows.count(shadow, x.began)
	label := "shadow_deny"
	if shadow.Allow {
		label = "shadow_allow"
	}
	p.metrics.decisions.WithLabelValues(label).Inc()
}
