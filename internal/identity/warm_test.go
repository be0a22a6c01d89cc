package identity_test

import "testing"

func TestWarmReadsTheKeysBeforeTheFirstToken(t *testing.T) {
	s := newStageAlone(t)
	s.Warm(t.Context())
	before := s.corp.Requests("jwks")
	if before == 0 {
		t.Fatal("the keys were not read")
	}
	s.good(t, s.corp.Token("ada", audience))
	if after := s.corp.Requests("jwks"); after != before {
		t.Errorf("the first token read the keys again: %d times, then %d", before, after)
	}
}

func TestWarmEndsThoughAnIssuerIsDown(t *testing.T) {
	s := newStageAlone(t)
	s.corp.SetDown(true)
	s.Warm(t.Context())
}
