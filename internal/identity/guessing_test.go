package identity_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/sandbox/idp"
)

func TestTheAuthorizationHeaderIsReadInOneWayOnly(t *testing.T) {
	s := newStage(t)
	token := s.corp.Token(ada.Subject, audience)
	for name, c := range map[string]struct {
		header []string
		want   identity.Reason // "" where it is good
	}{
		"as it should be":         {[]string{"Bearer " + token}, ""},
		"scheme in small letters": {[]string{"bearer " + token}, ""},
		"scheme in capitals":      {[]string{"BEARER " + token}, ""},
		"none":                    {nil, identity.Missing},
		"empty":                   {[]string{""}, identity.Malformed},
		"scheme alone":            {[]string{"Bearer"}, identity.Malformed},
		"scheme and a space":      {[]string{"Bearer "}, identity.Malformed},
		"token alone":             {[]string{token}, identity.Malformed},
		"twice":                   {[]string{"Bearer " + token, "Bearer " + token}, identity.Malformed},
		"a good and a bad one":    {[]string{"Bearer " + token, "Bearer x"}, identity.Malformed},
		"two in one header":       {[]string{"Bearer " + token + ", Bearer " + token}, identity.Malformed},
		"two tokens":              {[]string{"Bearer " + token + " " + token}, identity.Malformed},
		"a comma behind":          {[]string{"Bearer " + token + ","}, identity.Malformed},
		"two spaces":              {[]string{"Bearer  " + token}, identity.Malformed},
		"a tab":                   {[]string{"Bearer\t" + token}, identity.Malformed},
		"a space before":          {[]string{" Bearer " + token}, identity.Malformed},
		"a space behind":          {[]string{"Bearer " + token + " "}, identity.Malformed},
		"a NUL behind":            {[]string{"Bearer " + token + "\x00"}, identity.Malformed},
		"quoted":                  {[]string{`Bearer "` + token + `"`}, identity.Malformed},
		"as a parameter":          {[]string{"Bearer token=" + token}, identity.Malformed},
		"padding alone":           {[]string{"Bearer ===="}, identity.Malformed},
		"Basic":                   {[]string{"Basic " + token}, identity.Malformed},
		"another scheme":          {[]string{"BearerX " + token}, identity.Malformed},
		"endless":                 {[]string{"Bearer " + strings.Repeat("a", identity.MaxBearerBytes)}, identity.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			n := s.calls.Add(1) // another address each, so that none is slowed
			caller, err := s.Authenticate(t.Context(), c.header, netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}))
			if c.want == "" {
				if err != nil || caller.Subject != ada.Subject {
					t.Errorf("refused: %v", err)
				}
				return
			}
			wantRefusal(t, err, http.StatusUnauthorized, c.want, token)
			if got := problem.From(err).Header.Get("WWW-Authenticate"); c.want == identity.Missing && got != "Bearer" {
				t.Errorf("without a credential WWW-Authenticate is %q, want Bearer alone", got)
			}
		})
	}
}

// A real upstream token sent by mistake is told apart without a look-up, and shows nowhere.
func TestUpstreamTokensSentByMistake(t *testing.T) {
	s := newStage(t)
	mine, _ := s.mint(t, identity.Operator("nightly", "", nil))
	s.store.broken = errors.New("this token was looked up")
	digits := func(n int) string {
		raw := make([]byte, n/2)
		_, _ = rand.Read(raw)
		return hex.EncodeToString(raw)
	}
	last := "0"
	if strings.HasSuffix(mine, "0") {
		last = "1"
	}
	for name, token := range map[string]string{
		"classic":            "sbp_" + digits(40),
		"OAuth app":          "sbp_oauth_" + digits(40),
		"scoped":             "sbp_v0_" + digits(40),
		"of another length":  "sbp_" + digits(64),
		"one of ours, typed": mine[:len(mine)-1] + last,
		"one of ours, loud":  "sbp_" + strings.ToUpper(mine[4:]),
		"one of ours, cut":   mine[:len(mine)-2],
		"not hex":            "sbp_" + strings.Repeat("g", 40),
		"prefix alone":       "sbp_",
	} {
		t.Run(name, func(t *testing.T) {
			s.refused(t, token, identity.Foreign)
			if _, err := s.bearer(t, token); !strings.Contains(problem.From(err).Message, "Supabase access token") {
				t.Errorf("the hint does not name the mistake: %v", err)
			}
		})
	}
}

func TestMintedTokensAreAllDifferentAndAllValid(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		secret := identity.NewSecret()
		if seen[secret] || !identity.IsMinted(secret) {
			t.Fatalf("%q: made before, or not recognised", secret)
		}
		seen[secret] = true
		// Any one digit mistyped, or two neighbours swapped, and the checksum says so (but for one in 16 million).
		wrong := []byte(secret)
		wrong[10] ^= 1
		if identity.IsMinted(string(wrong)) {
			t.Errorf("%q is taken for a token", wrong)
		}
	}
}

func TestUnlimitedFailuresFromOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		good := s.corp.Token(ada.Subject, audience)
		minted, _ := s.mint(t, identity.Operator("nightly", "", nil))
		from := func(address, token string) error {
			_, err := s.Authenticate(t.Context(), []string{"Bearer " + token}, netip.MustParseAddr(address))
			return err
		}
		status := func(err error) int { return problem.From(err).Status }

		for i := range identity.FailuresFree {
			if got := status(from("192.0.2.7", identity.NewSecret())); got != http.StatusUnauthorized {
				t.Fatalf("failure %d is answered %d, want 401", i+1, got)
			}
		}
		for range 100 {
			guess := identity.NewSecret()
			err := from("192.0.2.7", guess)
			wantRefusal(t, err, http.StatusTooManyRequests, identity.UnknownToken, guess)
			if p := problem.From(err); p.Code != problem.Guessing || p.RetryAfter < identity.FailureDrain || p.RetryAfter > 5*time.Minute {
				t.Fatalf("code %s, come back in %v", p.Code, p.RetryAfter)
			}
		}
		// What is right works all along, remembered or not, and so do other addresses.
		for _, token := range []string{good, minted, s.corp.Token(bob.Subject, audience)} {
			if err := from("192.0.2.7", token); err != nil {
				t.Errorf("a correct credential from a limited address: %v", err)
			}
		}
		if got := status(from("192.0.2.8", "x")); got != http.StatusUnauthorized {
			t.Errorf("the neighbour is answered %d, want 401", got)
		}
		// The wait that was named is enough, and honest.
		p := problem.From(from("192.0.2.7", "x"))
		time.Sleep(p.RetryAfter)
		if got := status(from("192.0.2.7", "x")); got != http.StatusUnauthorized {
			t.Errorf("after the named wait: %d, want 401", got)
		}
		time.Sleep(identity.Drain)
		if got := status(from("192.0.2.7", "x")); got != http.StatusUnauthorized {
			t.Errorf("much later: %d, want 401", got)
		}
	})
}

func TestAddressesAreCountedByNetwork(t *testing.T) {
	for name, c := range map[string]struct {
		address func(i int) string
		limited bool
	}{
		"one IPv6 network":      {func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }, true},
		"many IPv6 networks":    {func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i+1) }, false},
		"IPv4 in two spellings": {func(i int) string { return []string{"192.0.2.1", "::ffff:192.0.2.1"}[i%2] }, true},
		"zones of one link":     {func(i int) string { return fmt.Sprintf("fe80::1%%eth%d", i) }, true},
		"neighbouring IPv4":     {func(i int) string { return fmt.Sprintf("192.0.2.%d", i+1) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			limited := false
			for i := range 2 * identity.FailuresFree {
				_, err := s.Authenticate(t.Context(), []string{"Bearer x"}, netip.MustParseAddr(c.address(i)))
				limited = limited || problem.From(err).Code == problem.Guessing
			}
			if limited != c.limited {
				t.Errorf("limited: %v, want %v", limited, c.limited)
			}
		})
	}
}

func TestNothingIsCountedWithoutAGuess(t *testing.T) {
	s := newStageAlone(t)
	for range 3 * identity.FailuresFree {
		if _, err := s.Authenticate(t.Context(), nil, home); problem.From(err).Status != http.StatusUnauthorized {
			t.Fatalf("no credential: %v, want 401", err)
		}
	}
	s.corp.SetDown(true)
	for range 3 * identity.FailuresFree {
		if _, err := s.bearer(t, s.corp.Token(ada.Subject, audience)); problem.From(err).Status != http.StatusServiceUnavailable {
			t.Fatalf("during an outage: %v, want 503", err)
		}
	}
	if got := s.CountedAddresses(); got != 0 {
		t.Errorf("%d addresses are counted, want none", got)
	}
}

func TestAMillionFailingAddressesAreForgotten(t *testing.T) {
	s := newStage(t)
	for i := range 3 * identity.FailuresTable {
		_, err := s.Authenticate(t.Context(), []string{"Bearer x"}, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		if err == nil {
			t.Fatal("accepted")
		}
	}
	if got := s.CountedAddresses(); got > identity.FailuresTable {
		t.Errorf("%d addresses are remembered, want at most %d", got, identity.FailuresTable)
	}
}

// Bad credentials are not remembered, so they cannot push out the good.
func TestGuessesAreNotRemembered(t *testing.T) {
	s := newStage(t)
	good := s.corp.Token(ada.Subject, audience)
	caller := s.good(t, good)
	for range 1000 {
		_, _ = s.bearer(t, identity.NewSecret())
	}
	if got := s.Remembered(); got != 1 {
		t.Errorf("%d credentials are remembered, want the good one", got)
	}
	if s.good(t, good) != caller {
		t.Error("the good one was pushed out")
	}
}

// Somebody with endless good tokens, as large as they get, fills the memory no further than this.
func TestRememberedTokensAreBounded(t *testing.T) {
	s := newStage(t)
	groups := idp.Claim("groups", strings.Fields(strings.Repeat("a-group-with-a-long-name ", 440)))
	const n = 1600 // of some 15 KiB, which are counted fourfold against 64 MiB
	for range n {
		s.good(t, s.corp.Token(ada.Subject, audience, s.corp.SignedES256(), groups))
	}
	if got := s.Remembered(); got < 100 || got > 1200 {
		t.Errorf("%d of %d large tokens are remembered, want about 1100", got, n)
	}
}

func FuzzBearer(f *testing.F) {
	for _, header := range []string{"Bearer abc", "bearer a.b.c", "Bearer", "Bearer  a", "Basic YTpi", "Bearer a,b", "Bearer ====", "Bearer sbp_00", "\x00", "Bearer a\r\nX: y"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		token, ok := identity.Bearer([]string{header})
		if !ok {
			return
		}
		// Accepted: then there is one way to read it, whoever reads.
		if !strings.EqualFold(header[:7], "Bearer ") || header[7:] != token || token == "" || len(token) > identity.MaxBearerBytes {
			t.Errorf("%q gave %q", header, token)
		}
		if strings.ContainsAny(token, " ,\t\r\n\x00\";") {
			t.Errorf("%q holds what no token holds", token)
		}
		if fields := strings.Fields(header); len(fields) != 2 || fields[1] != token {
			t.Errorf("%q is read as %q by a lenient parser", header, fields)
		}
	})
}

func FuzzAuthenticate(f *testing.F) {
	s := newStage(f)
	good := s.corp.Token(ada.Subject, audience)
	for _, token := range []string{good, good + ".", "a.b.c", "..", "sbp_", identity.NewSecret(), strings.Repeat("a.", 10)} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if token == good {
			return
		}
		caller, err := s.Authenticate(t.Context(), []string{"Bearer " + token}, home)
		if err == nil {
			t.Errorf("%q was accepted as %s", token, caller.Subject)
		}
		if p := problem.From(err); p.Status == http.StatusInternalServerError {
			t.Errorf("%q made a fault: %v", token, err)
		}
	})
}

func FuzzIsMinted(f *testing.F) {
	f.Add(identity.NewSecret())
	f.Add("sbp_oauth_" + strings.Repeat("0", 40))
	f.Fuzz(func(t *testing.T, token string) {
		if identity.IsMinted(token) && (len(token) != 44 || token != strings.ToLower(token)) {
			t.Errorf("%q is taken for a token", token)
		}
	})
}
