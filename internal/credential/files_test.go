package credential_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/secret"
)

// inFile is a credential whose token is in a file, and a function that replaces it.
func inFile(t *testing.T, expires time.Time) (*credential.Set, func(token string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pat")
	write := func(token string) {
		if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	set, err := credential.New([]credential.Config{{Name: "file", Token: secret.Source{File: path}, Expires: expires}}, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return set, write
}

func TestAChangedTokenFileIsTakenUp(t *testing.T) {
	set, write := inFile(t, time.Time{})
	c := set.All()[0]
	c.Observe(bearerOf(t, c), http.StatusUnauthorized, time.Now())
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go set.Watch(ctx, slog.New(slog.DiscardHandler))
		write("") // half-way through a replacement the file may be empty: the old token stays
		time.Sleep(3 * time.Second)
		if got := sends(t, c); got != "old" {
			t.Errorf("token = %q, want the old one while the file is unreadable", got)
		}
		write("new")
		time.Sleep(3 * time.Second)
		if got := sends(t, c); got != "new" || !c.Healthy() {
			t.Errorf("token = %q, healthy %v; want new, true", got, c.Healthy())
		}
	})
}

func TestARefusedTokenWhoseFileChangedIsReplacedAtOnce(t *testing.T) {
	set, write := inFile(t, time.Time{})
	c := set.All()[0]
	sent := bearerOf(t, c)
	if err := c.Renew(t.Context(), sent); err == nil {
		t.Error("a token that nobody replaced counts as renewed")
	}
	write("new")
	if err := c.Renew(t.Context(), sent); err != nil || sends(t, c) != "new" {
		t.Errorf("Renew = %v, and %q is sent", err, sends(t, c))
	}
	if err := c.Renew(t.Context(), sent); err != nil {
		t.Errorf("a bearer that was replaced before: %v", err)
	}
}

// TestTheRefusalOfAReplacedTokenSaysNothingOfTheNewOne: a slow answer to the old token must not rest the new one.
func TestTheRefusalOfAReplacedTokenSaysNothingOfTheNewOne(t *testing.T) {
	set, write := inFile(t, time.Time{})
	c := set.All()[0]
	sent := bearerOf(t, c)
	write("new")
	if err := c.Renew(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	if c.Observe(sent, http.StatusUnauthorized, time.Now()) || !c.Healthy() {
		t.Error("the new token is marked for the old one's refusal")
	}
}

func TestTheTokensBeforeAreStillLookedForInEchoes(t *testing.T) {
	set, write := inFile(t, time.Time{})
	c := set.All()[0]
	for _, token := range []string{"second", "third", "fourth"} {
		write(token)
		if err := c.Renew(t.Context(), bearerOf(t, c)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, text := range c.Secrets() {
		got = append(got, text.Reveal())
	}
	if strings.Join(got, " ") != "fourth third second" {
		t.Errorf("looked for: %v", got)
	}
}

func TestATokensEndIsWarnedOfAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, _ := inFile(t, time.Now().AddDate(0, 0, 40))
		out := &journal{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); set.Foresee(ctx, slog.New(slog.NewTextHandler(out, nil))) }()
		time.Sleep(9 * 24 * time.Hour)
		synctest.Wait()
		if out.String() != "" {
			t.Errorf("31 days ahead: %s", out)
		}
		time.Sleep(32 * 24 * time.Hour)
		cancel()
		<-done
		var days []string
		for line := range strings.Lines(out.String()) {
			_, left, _ := strings.Cut(strings.TrimSpace(line), "days_left=")
			days = append(days, left)
		}
		if got := strings.Join(days, ","); got != "30,7,3,1," || !strings.Contains(out.String(), "level=ERROR") {
			t.Errorf("warned with %s days left: %s", got, out)
		}
	})
}
