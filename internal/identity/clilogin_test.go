package identity_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/state"
)

// terminal is the side of "supabase login", which makes a key and a session id, and decrypts what it polls.
type terminal struct {
	key     *ecdh.PrivateKey
	session string
}

func newTerminal(t testing.TB) terminal {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	return terminal{key, fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])}
}

func (c terminal) publicKey() string { return hex.EncodeToString(c.key.PublicKey().Bytes()) }

// decrypt does what the CLI does: everything is hex, the raw ECDH secret is the key.
func (c terminal) decrypt(t testing.TB, a *identity.CLIAnswer) string {
	t.Helper()
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	peer, err := ecdh.P256().NewPublicKey(unhex(a.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	shared, err := c.key.ECDH(peer)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(shared)
	if err != nil {
		t.Fatal(err)
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	token, err := box.Open(nil, unhex(a.Nonce), unhex(a.AccessToken), nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

// signedIn gives a stage and the caller of a session on it.
func signedIn(t testing.TB) (*stage, *identity.Caller) {
	t.Helper()
	s := newStage(t)
	b := s.browser()
	b.signIn(t, ada)
	return s, b.wantSignedIn(t).Caller
}

func (s *stage) beginCLI(t testing.TB, c terminal, caller *identity.Caller) string {
	t.Helper()
	code, err := s.BeginCLI(t.Context(), c.session, c.publicKey(), "cli_ada@host_1730000000", caller)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func (s *stage) poll(t testing.TB, c terminal, code string) (*identity.CLIAnswer, error) {
	t.Helper()
	n := s.calls.Add(1) // another address each, so that none is slowed
	return s.PollCLI(t.Context(), c.session, code, netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}))
}

func TestSupabaseLogin(t *testing.T) {
	s, caller := signedIn(t)
	c := newTerminal(t)
	code := s.beginCLI(t, c, caller)
	if infos, err := s.List(t.Context()); err != nil || len(infos) != 0 {
		t.Errorf("before the code was typed there are tokens: %+v, %v", infos, err)
	}
	answer, err := s.poll(t, c, " "+strings.ToLower(code)+"\n")
	if err != nil {
		t.Fatal(err)
	}
	token := c.decrypt(t, answer)
	got := s.good(t, token)
	if got.Subject != ada.Subject || got.Token != answer.ID || got.Email != ada.Email {
		t.Errorf("the CLI's token stands for %+v", got)
	}
	if _, err := time.Parse(time.RFC3339, answer.CreatedAt); err != nil {
		t.Error(err)
	}
	infos, err := s.List(t.Context())
	if err != nil || len(infos) != 1 || infos[0].Name != "cli_ada@host_1730000000" {
		t.Errorf("List = %+v, %v", infos, err)
	}
	var fields map[string]string
	raw, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &fields); err != nil || len(fields) != 5 || bytes.Contains(raw, []byte(token)) {
		t.Errorf("the answer is %s", raw)
	}
	_, err = s.poll(t, c, code)
	wantRefusal(t, err, http.StatusUnauthorized, identity.LoginCode, code)
}

func TestGuessingAVerificationCode(t *testing.T) {
	s, caller := signedIn(t)
	c := newTerminal(t)
	code := s.beginCLI(t, c, caller)
	for range identity.LoginTries - 1 {
		_, err := s.poll(t, c, "AAAAAAAA")
		wantRefusal(t, err, http.StatusUnauthorized, identity.LoginCode)
	}
	if _, err := s.poll(t, c, code); err != nil {
		t.Errorf("the right code after some wrong ones: %v", err)
	}

	c = newTerminal(t)
	code = s.beginCLI(t, c, caller)
	done := make(chan error)
	for range 4 * identity.LoginTries { // all at once
		go func() {
			_, err := s.PollCLI(context.Background(), c.session, "AAAAAAAA", home)
			done <- err
		}()
	}
	for range 4 * identity.LoginTries {
		if err := <-done; err == nil {
			t.Error("a wrong code was taken")
		}
	}
	for range identity.LoginTries { // those that were refused because another was being looked at
		_, _ = s.poll(t, c, "AAAAAAAA")
	}
	_, err := s.poll(t, c, code)
	wantRefusal(t, err, http.StatusUnauthorized, identity.LoginCode, code)
	if infos, err := s.List(t.Context()); err != nil || len(infos) != 1 {
		t.Errorf("a login that was guessed at left a token: %+v, %v", infos, err)
	}

	for range 2 * identity.FailuresFree {
		_, err = s.PollCLI(t.Context(), newTerminal(t).session, "AAAAAAAA", home)
	}
	if problem.From(err).Code != problem.Guessing {
		t.Errorf("polls without end are answered %v, want to be slowed", err)
	}
}

func TestALoginWaitsForFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, caller := signedIn(t)
		early, late := newTerminal(t), newTerminal(t)
		earlyCode, lateCode := s.beginCLI(t, early, caller), s.beginCLI(t, late, caller)
		time.Sleep(identity.LoginTime - time.Second)
		if _, err := s.poll(t, early, earlyCode); err != nil {
			t.Error(err)
		}
		_, err := s.poll(t, late, "AAAAAAAA") // a wrong try does not prolong it
		wantRefusal(t, err, http.StatusUnauthorized, identity.LoginCode)
		time.Sleep(time.Second)
		_, err = s.poll(t, late, lateCode)
		wantRefusal(t, err, http.StatusUnauthorized, identity.LoginCode, lateCode)
	})
}

func TestLoginLinksThatAreNotRight(t *testing.T) {
	s, caller := signedIn(t)
	good := newTerminal(t)
	point := good.publicKey()
	for name, c := range map[string]struct{ session, key, name string }{
		"no session":               {"", point, "n"},
		"a session that is a path": {"../../../../../../../../../../../..", point, "n"},
		"a session too long":       {good.session + "0", point, "n"},
		"no key":                   {good.session, "", "n"},
		"a key that is not hex":    {good.session, strings.Repeat("zz", 65), "n"},
		"a compressed key":         {good.session, "02" + point[2:66], "n"},
		"a point off the curve":    {good.session, point[:66] + strings.Repeat("00", 32), "n"},
		"the point at infinity":    {good.session, "00", "n"},
		"no name":                  {good.session, point, ""},
		"a name of many lines":     {good.session, point, "a\nb"},
	} {
		t.Run(name, func(t *testing.T) {
			code, err := s.BeginCLI(t.Context(), c.session, c.key, c.name, caller)
			if problem.From(err).Status != http.StatusBadRequest || code != "" {
				t.Errorf("BeginCLI = %q, %v, want 400", code, err)
			}
		})
	}
	s.beginCLI(t, good, caller)
	if _, err := s.BeginCLI(t.Context(), good.session, point, "n", caller); problem.From(err).Status != http.StatusBadRequest {
		t.Errorf("the same link again: %v, want 400", err)
	}
	minted, _ := s.mint(t, caller)
	if _, err := s.BeginCLI(t.Context(), newTerminal(t).session, point, "n", s.good(t, minted)); problem.From(err).Status != http.StatusForbidden {
		t.Errorf("with a minted token: %v, want 403", err)
	}
}

func TestLoginsThatWaitAreBounded(t *testing.T) {
	s, caller := signedIn(t)
	for range identity.MaxLogins {
		s.beginCLI(t, newTerminal(t), caller)
	}
	c := newTerminal(t)
	if _, err := s.BeginCLI(t.Context(), c.session, c.publicKey(), "n", caller); problem.From(err).Status != http.StatusBadRequest {
		t.Errorf("one login too many: %v, want 400", err)
	}
	b := s.browser()
	b.signIn(t, bob)
	s.beginCLI(t, c, b.wantSignedIn(t).Caller)
}

func TestAWaitingLoginHoldsNoTokenInTheClear(t *testing.T) {
	dir := t.TempDir()
	s, caller := signedIn(t)
	s.store.Store = openState(t, dir)
	operator := identity.Operator(caller.Subject, "", nil) // the owner's record is in the other store
	c := newTerminal(t)
	code := s.beginCLI(t, c, operator)
	file, err := os.ReadFile(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.poll(t, c, code)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, []byte(answer.AccessToken)) {
		t.Fatal("the login is not in the file: the test looks in the wrong place")
	}
	for name, secret := range map[string]string{"token": c.decrypt(t, answer), "code": code, "session": c.session} {
		if bytes.Contains(file, []byte(secret)) {
			t.Errorf("the %s is in the file", name)
		}
	}
}

func TestALoginWithoutTheState(t *testing.T) {
	s, caller := signedIn(t)
	s.store.broken = errors.New("connection refused")
	c := newTerminal(t)
	if _, err := s.BeginCLI(t.Context(), c.session, c.publicKey(), "n", caller); problem.From(err).Status != http.StatusServiceUnavailable {
		t.Errorf("BeginCLI = %v, want 503", err)
	}
	if _, err := s.Find(t.Context(), strings.Repeat("0", 20)); errors.Is(err, state.ErrNotFound) {
		t.Error("a store that is out of order is taken for an empty one")
	}
}
