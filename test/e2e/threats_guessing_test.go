package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/test/harness"
)

// guesses is more than an address may be wrong in a row before it is told to wait.
const guesses = 30

// guess is a token that looks like a minted one.
func guess() string {
	var digits [20]byte
	_, _ = rand.Read(digits[:]) // never fails, see crypto/rand
	return "sbp_" + hex.EncodeToString(digits[:])
}

func TestGuessingOfTokens(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	good := g.Token("payments")
	limited := 0
	for range guesses {
		guessed := guess()
		a := g.Get(guessed, own)
		switch p := a.Problem(t); {
		case a.StatusCode == http.StatusTooManyRequests:
			limited++
			if wait, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || wait <= 0 || p.RetryAfter != wait {
				t.Errorf("told to come back in %q, %d", a.Header.Get("Retry-After"), p.RetryAfter)
			}
		case a.StatusCode != http.StatusUnauthorized:
			t.Fatalf("a guess was answered %d %s", a.StatusCode, a.Text)
		}
		if strings.Contains(a.Text+g.Log(), guessed[len("sbp_"):]) {
			t.Error("a guess is repeated in the answer or in the log: it may be somebody's typing error")
		}
	}
	if limited == 0 {
		t.Errorf("%d guesses from one address were answered alike", guesses)
	}
	if a := g.Get(good, own); a.StatusCode != http.StatusOK {
		t.Errorf("a right token from the same address was answered %d %s", a.StatusCode, a.Text)
	}
	if n := len(upstreamRequests(g, own)); n != 1 {
		t.Errorf("upstream was asked %d times, want once", n)
	}
	// Counted, so that somebody can be told.
	if text := metrics(t, g); !strings.Contains(text, `outcome="too_many_failures"`) {
		t.Error("the metrics do not tell of guessing")
	}
	waitFor(t, "the record of each guess", func() bool { return len(g.AllAudit()) >= guesses })
}

// TestGuessingBehindAnotherAddress: a header that anybody may write does not make one address many.
func TestGuessingBehindAnotherAddress(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	limited := false
	for n := range guesses {
		address := "198.51.100." + strconv.Itoa(n)
		a := g.Get(guess(), own, "X-Forwarded-For", address, "X-Real-Ip", address, "Forwarded", "for="+address, "True-Client-Ip", address)
		limited = limited || a.StatusCode == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("who claims another address each time is never told to wait")
	}
}

// TestGuessingOfLoginCodes: the code between browser and terminal has 40 bits, and five tries.
func TestGuessingOfLoginCodes(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	limited := false
	for n := range guesses {
		a := g.Get("", "/platform/cli/login/4b1b1d52-3a52-4a0a-8f4c-0f5e2d3b6a11?device_code=AAAAAA"+strconv.Itoa(10+n))
		limited = limited || a.StatusCode == http.StatusTooManyRequests
		if a.StatusCode/100 == 2 {
			t.Fatalf("a guessed code was answered %d %s", a.StatusCode, a.Text)
		}
	}
	if !limited {
		t.Errorf("%d guesses from one address were answered alike", guesses)
	}
}

// TestGuessingWithARealUpstreamToken: somebody's own Supabase token, sent by mistake, is named as such and goes nowhere.
func TestGuessingWithARealUpstreamToken(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	for name, token := range map[string]string{
		"a personal token":       "sbp_0123456789abcdef0123456789abcdef01234567",
		"a scoped token":         "sbp_v0_0123456789abcdef0123456789abcdef01234567",
		"an OAuth app's":         "sbp_oauth_0123456789abcdef0123456789abcdef01234567",
		"the gateway's very own": harness.UpstreamToken,
	} {
		a := g.Get(token, own)
		if a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.Problem(t).Message, "Supabase access token") {
			t.Errorf("%s was answered %d %s, want 401 that names the mistake", name, a.StatusCode, a.Text)
		}
		records := g.Audit(a.Header.Get("X-Request-Id"))
		if last := records[len(records)-1]; last.Decision.Allow || last.Decision.Reason != string(identity.Foreign) {
			t.Errorf("%s is recorded as %+v", name, last.Decision)
		}
		if digits := token[len(token)-20:]; strings.Contains(a.Text+g.Log()+auditText(t, g)+metrics(t, g), digits) {
			t.Errorf("%s shows in the answer, the log, the metrics or the audit log", name)
		}
	}
	if n := len(g.Upstream.Requests()); n > 0 {
		t.Errorf("upstream was asked %d times", n)
	}
}
