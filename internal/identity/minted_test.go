package identity_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/sandbox/idp"
	"corp.example/gateway/internal/state"
)

func TestAMintedTokenStandsForItsOwner(t *testing.T) {
	s := newStage(t)
	owner := s.good(t, s.corp.Token(ada.Subject, audience, idp.Claim("department", "pay")))
	limits := identity.Restriction{Team: "payments", Scopes: []string{"database:read"}, Projects: []string{"abcdefghijklmnopqrst"}}
	secret, info := s.mint(t, owner, func(r *identity.MintRequest) { r.Limits, r.Expires = limits, in(time.Hour) })
	if !regexp.MustCompile(`^sbp_[a-f0-9]{40}$`).MatchString(secret) {
		t.Errorf("the token is %q, which the Supabase CLI does not take", secret)
	}
	got := s.good(t, secret)
	if got.Kind != identity.Token || got.Issuer != "corp" || got.Subject != "ada-1" || got.Email != "ada@corp.example" ||
		!slices.Equal(got.Groups, ada.Groups) || got.Claims["department"] != "pay" || got.Token != info.ID ||
		got.Limits.Team != "payments" || !slices.Equal(got.Limits.Projects, limits.Projects) || !got.Expires.Equal(info.Expires) {
		t.Errorf("caller %+v", got)
	}
	for _, name := range []string{"exp", "iat", "jti"} {
		if _, present := got.Claims[name]; present {
			t.Errorf("the claim %s of the owner's bearer token lives on", name)
		}
	}
	if s.good(t, secret) != got {
		t.Error("the remembered token has another *Caller")
	}
	infos, err := s.List(t.Context())
	if err != nil || len(infos) != 1 || infos[0].ID != info.ID || infos[0].Name != "laptop" || !infos[0].OwnedBy(owner) {
		t.Errorf("List = %+v, %v", infos, err)
	}
}

func TestATokenOfTheOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *identity.Config) { c.Tokens.ReauthenticateAfter = time.Hour })
		secret, _ := s.mint(t, identity.Operator("nightly", "ops@corp.example", []string{"payments"}))
		// No issuer, so nobody who could sign in again: only its own expiry ends it.
		time.Sleep(30 * 24 * time.Hour)
		got := s.good(t, secret)
		if got.Kind != identity.Token || got.Issuer != "" || got.Subject != "nightly" || got.Email != "ops@corp.example" || !slices.Equal(got.Teams, []string{"payments"}) {
			t.Errorf("caller %+v", got)
		}
		time.Sleep(identity.DefaultTokenAge)
		s.refused(t, secret, identity.UnknownToken)
	})
}

func TestMintRefusals(t *testing.T) {
	s := newStage(t)
	owner := s.good(t, s.corp.Token(ada.Subject, audience))
	secret, _ := s.mint(t, owner)
	for name, c := range map[string]struct {
		change func(*identity.MintRequest)
		status int
		want   string
	}{
		"longer than allowed": {func(r *identity.MintRequest) { r.Expires = in(identity.DefaultTokenAge + time.Hour) }, 400, "90 days"},
		"expired already":     {func(r *identity.MintRequest) { r.Expires = in(-time.Second) }, 400, "expired already"},
		"no name":             {func(r *identity.MintRequest) { r.Name = " " }, 400, "name"},
		"a name of lines":     {func(r *identity.MintRequest) { r.Name = "a\nb" }, 400, "name"},
		"an endless name":     {func(r *identity.MintRequest) { r.Name = strings.Repeat("a", 200) }, 400, "name"},
		"nobody":              {func(r *identity.MintRequest) { r.Owner = identity.Operator("", "", nil) }, 400, "subject"},
		"an empty scope":      {func(r *identity.MintRequest) { r.Limits.Scopes = []string{""} }, 400, "without a name"},
		"endless projects":    {func(r *identity.MintRequest) { r.Limits.Projects = make([]string, 1000) }, 400, "at most"},
		"by a minted token":   {func(r *identity.MintRequest) { r.Owner = s.good(t, secret) }, 403, "cannot make another"},
	} {
		t.Run(name, func(t *testing.T) {
			request := identity.MintRequest{Owner: owner, Name: "laptop"}
			c.change(&request)
			secret, _, err := s.Mint(t.Context(), request)
			var p *problem.Error
			if !errors.As(err, &p) || p.Status != c.status || !strings.Contains(p.Message, c.want) || secret != "" {
				t.Errorf("Mint = %q, %v, want status %d and %q", secret, err, c.status, c.want)
			}
		})
	}
}

func TestAnOwnerHasABoundedNumberOfTokens(t *testing.T) {
	s := newStage(t)
	operator := identity.Operator("script", "", nil)
	for range identity.MaxTokens {
		s.mint(t, operator)
	}
	if _, _, err := s.Mint(t.Context(), identity.MintRequest{Owner: operator, Name: "one more"}); err == nil {
		t.Error("one more than allowed was minted")
	}
	s.mint(t, identity.Operator("somebody else", "", nil))
}

func TestRevocation(t *testing.T) {
	for name, which := range map[string]func(secret string, info identity.TokenInfo) string{
		"by the token":      func(secret string, _ identity.TokenInfo) string { return secret },
		"by its id":         func(_ string, info identity.TokenInfo) string { return info.ID },
		"with a line's end": func(secret string, _ identity.TokenInfo) string { return secret + "\n" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			secret, info := s.mint(t, identity.Operator("nightly", "", nil))
			other, _ := s.mint(t, identity.Operator("nightly", "", nil))
			s.good(t, secret)
			s.good(t, other)
			revoked, err := s.Revoke(t.Context(), which(secret, info))
			if err != nil || revoked.ID != info.ID {
				t.Fatalf("Revoke = %+v, %v", revoked, err)
			}
			s.refused(t, secret, identity.UnknownToken)
			s.good(t, other)
			if _, err := s.Revoke(t.Context(), which(secret, info)); !errors.Is(err, state.ErrNotFound) {
				t.Errorf("revoking again = %v, want ErrNotFound", err)
			}
		})
	}
	s := newStage(t)
	for _, nonsense := range []string{"", "sbp_", strings.Repeat("0", 20), "../../tokens", identity.NewSecret()} {
		if _, err := s.Revoke(t.Context(), nonsense); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("Revoke(%q) = %v, want ErrNotFound", nonsense, err)
		}
	}
}

// A command beside the running service revokes; the service, which remembers the token, refuses it at once.
func TestRevocationByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	running := &stage{Service: newService(t, identity.Config{}, store)}
	connection, err := state.Connect(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	command := newService(t, identity.Config{}, connection)

	secret, info, err := command.Mint(t.Context(), identity.MintRequest{Owner: identity.Operator("nightly", "", nil), Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	running.good(t, secret)
	if _, err := command.Revoke(t.Context(), info.ID); err != nil {
		t.Fatal(err)
	}
	running.refused(t, secret, identity.UnknownToken)
}

// A look-up that began before the revocation must not be remembered after it.
func TestRevocationDuringALookUp(t *testing.T) {
	s := newStage(t)
	secret, info := s.mint(t, identity.Operator("nightly", "", nil))
	s.store.reading = func(table string) {
		if table == "tokens" {
			s.store.reading = nil
			if _, err := s.Revoke(t.Context(), info.ID); err != nil {
				t.Error(err)
			}
		}
	}
	_, _ = s.bearer(t, secret) // what was read before the revocation may still answer this one
	s.refused(t, secret, identity.UnknownToken)
}

func TestAMintedTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		expires := in(10 * time.Second)
		secret, _ := s.mint(t, identity.Operator("nightly", "", nil), func(r *identity.MintRequest) { r.Expires = expires })
		s.good(t, secret)
		time.Sleep(time.Until(expires) - time.Nanosecond)
		s.good(t, secret)
		time.Sleep(time.Nanosecond)
		s.refused(t, secret, identity.UnknownToken)
	})
}

func TestATokenDiesWhenItsOwnerStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *identity.Config) { c.Tokens.ReauthenticateAfter = 24 * time.Hour })
		secret, _ := s.mint(t, s.good(t, s.corp.Token(ada.Subject, audience)))
		time.Sleep(23 * time.Hour)
		s.good(t, secret)
		time.Sleep(time.Hour)
		s.refused(t, secret, identity.Reauthenticate)
		// Their next proof brings it back: minting with a bearer token is one.
		other, _ := s.mint(t, s.good(t, s.corp.Token(ada.Subject, audience)))
		s.good(t, secret)
		s.good(t, other)
	})
}

func TestATokenHasItsOwnersPresentGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageAlone(t)
		secret, _ := s.mint(t, s.good(t, s.corp.Token(ada.Subject, audience)))
		if got := s.good(t, secret).Groups; !slices.Equal(got, ada.Groups) {
			t.Fatalf("groups %q", got)
		}
		time.Sleep(time.Minute) // an older proof does not replace a newer one
		moved := ada
		moved.Groups = []string{"staff"}
		s.corp.Put(moved)
		s.mint(t, s.good(t, s.corp.Token(ada.Subject, audience)))
		if got := s.good(t, secret).Groups; !slices.Equal(got, moved.Groups) {
			t.Errorf("after a newer proof the groups are still %q", got)
		}
		s.corp.Put(ada)
		s.mint(t, s.good(t, s.corp.Token(ada.Subject, audience, idp.Claim("iat", time.Now().Add(-30*time.Second).Unix()))))
		if got := s.good(t, secret).Groups; !slices.Equal(got, moved.Groups) {
			t.Errorf("an older proof brought back the groups %q", got)
		}
	})
}

func TestSuspension(t *testing.T) {
	s := newStage(t)
	bearer := s.corp.Token(ada.Subject, audience)
	secret, _ := s.mint(t, s.good(t, bearer))
	bobs, _ := s.mint(t, s.good(t, s.corp.Token(bob.Subject, audience)))
	s.good(t, secret)
	s.good(t, bobs)
	if err := s.Suspend(t.Context(), "corp", ada.Subject, "refresh refused"); err != nil {
		t.Fatal(err)
	}
	s.refused(t, secret, identity.Suspended)
	s.good(t, bobs)
	// A bearer token from before does not lift it.
	_, _, err := s.Mint(t.Context(), identity.MintRequest{Owner: s.good(t, bearer), Name: "again"})
	wantRefusal(t, err, http.StatusUnauthorized, identity.Suspended, bearer)
	if err := s.Suspend(t.Context(), "corp", "nobody", ""); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("suspending nobody = %v, want ErrNotFound", err)
	}
}

func TestWithoutTheStateRememberedTokensWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		secret, _ := s.mint(t, identity.Operator("nightly", "", nil))
		other, _ := s.mint(t, identity.Operator("nightly", "", nil))
		s.good(t, secret)
		s.store.broken = errors.New("connection refused")
		s.good(t, secret)
		_, err := s.bearer(t, other)
		wantRefusal(t, err, http.StatusServiceUnavailable, identity.Unavailable, other)
		// Word of a revocation may have been lost: after a while nobody is believed unseen.
		time.Sleep(identity.RememberToken)
		_, err = s.bearer(t, secret)
		wantRefusal(t, err, http.StatusServiceUnavailable, identity.Unavailable, secret)
	})
}

func TestWatchersThatMissedSomethingForgetEverything(t *testing.T) {
	s := newStage(t)
	secret, _ := s.mint(t, s.good(t, s.corp.Token(ada.Subject, audience)))
	for _, table := range []string{"tokens", "owners"} {
		s.good(t, secret)
		before := s.Remembered()
		s.store.missed(table)
		if after := s.Remembered(); after >= before {
			t.Errorf("after changes to %s may have been missed, %d of %d credentials are still remembered", table, after, before)
		}
	}
	s.good(t, secret)
}

func TestLastUseShowsSoonAndCostsFewWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		secret, info := s.mint(t, identity.Operator("nightly", "", nil))
		s.mint(t, identity.Operator("idle", "", nil))
		lastUsed := func() time.Time {
			t.Helper()
			infos, err := s.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range infos {
				if i.ID != info.ID && !i.LastUsed.IsZero() {
					t.Errorf("a token nobody used was last used %v", i.LastUsed)
				}
			}
			at := slices.IndexFunc(infos, func(i identity.TokenInfo) bool { return i.ID == info.ID })
			if used := infos[at]; !used.LastUsed.IsZero() && used.LastUsedFrom != home {
				t.Errorf("last used from %v, want %v", used.LastUsedFrom, home)
			}
			return infos[at].LastUsed
		}

		s.good(t, secret)
		time.Sleep(2 * time.Second)
		if lastUsed().IsZero() {
			t.Error("two seconds after its first use the token is still shown as unused")
		}
		before := s.store.writes("token_uses")
		for range 600 {
			s.good(t, secret)
			time.Sleep(time.Second)
		}
		if writes := s.store.writes("token_uses") - before; writes < 55 || writes > 71 { // it is looked up anew each minute
			t.Errorf("600 requests in ten minutes made %d writes, want about 60", writes)
		}
		time.Sleep(identity.UseEvery + time.Second)
		if exact := time.Since(lastUsed()); exact > identity.UseEvery+4*time.Second {
			t.Errorf("last used %v ago, want the time of the last request", exact)
		}
	})
}

func TestClosingRecordsTheLastUse(t *testing.T) {
	s := newStage(t)
	secret, _ := s.mint(t, identity.Operator("nightly", "", nil))
	s.good(t, secret)
	s.Close()
	s.Close()
	if infos, err := s.List(t.Context()); err != nil || infos[0].LastUsed.IsZero() {
		t.Errorf("List = %+v, %v, want the last use", infos, err)
	}
}

// Who reads the state directory finds no token in it.
func TestTokensAreStoredAsHashes(t *testing.T) {
	dir := t.TempDir()
	store := openState(t, dir)
	s := &stage{Service: newService(t, identity.Config{}, store)}
	secret, info := s.mint(t, identity.Operator("nightly", "", nil))
	s.good(t, secret)
	file, err := os.ReadFile(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, []byte(info.ID)) {
		t.Fatal("the token's record is not in the file: the test looks in the wrong place")
	}
	for _, part := range []string{secret, secret[4:], secret[4:24], secret[24:]} {
		if bytes.Contains(file, []byte(part)) {
			t.Errorf("%d characters of the token are in the file", len(part))
		}
	}
	shown, err := json.Marshal(info)
	if err != nil || strings.Contains(string(shown), "hash") {
		t.Errorf("the token's information shows its hash: %s, %v", shown, err)
	}
}

func TestWhoIsForgottenIsRecognisedAnew(t *testing.T) {
	s := newStage(t)
	jwt := s.corp.Token(ada.Subject, audience)
	before := s.good(t, jwt)
	if s.good(t, jwt) != before || s.Remembered() == 0 {
		t.Fatal("nobody is remembered")
	}
	s.Forget()
	if n := s.Remembered(); n != 0 {
		t.Errorf("%d are remembered still", n)
	}
	if after := s.good(t, jwt); after == before || after.Subject != before.Subject {
		t.Errorf("recognised as %+v, want another caller of the same name", after)
	}
}
