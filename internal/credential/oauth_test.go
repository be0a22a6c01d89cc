package credential_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/problem"
)

// watched runs the keepers of sets until the test's bubble ends, and returns their log.
func watched(t *testing.T, sets ...*credential.Set) *journal {
	t.Helper()
	log := &journal{}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, set := range sets {
		running.Go(func() { set.Watch(ctx, slog.New(slog.NewTextHandler(log, nil))) })
	}
	t.Cleanup(func() { cancel(); running.Wait() })
	synctest.Wait()
	return log
}

// journal is a log that is read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func TestAnAppIsNotReadyBeforeItIsConnectedAndAtOnceAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		set := s.replica(t)
		watched(t, set)
		c := set.All()[0]
		if err := set.Ready(); err == nil || c.Healthy() || !strings.Contains(err.Error(), "gateway credential connect app") {
			t.Errorf("Ready = %v, healthy %v", err, c.Healthy())
		}
		if _, err := set.Choose(read, read.Effect, credential.Target{Project: ours}, time.Now()); problem.From(err).Code != problem.UpstreamCredential {
			t.Errorf("a call is answered %v", err)
		}
		s.connect(t)
		synctest.Wait()
		if err := set.Ready(); err != nil || !s.works(sends(t, c)) {
			t.Errorf("connected: Ready = %v", err)
		}
	})
}

func TestAnAuthorizationTakesOnlyItsOwnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		mine, other := s.app().Authorize(redirectURI, "acme"), s.app().Authorize(redirectURI, "")
		if !strings.Contains(mine.URL, "code_challenge_method=S256") || !strings.Contains(mine.URL, "organization_slug=acme") {
			t.Errorf("URL %s", mine.URL)
		}
		if err := mine.Finish(t.Context(), "app", s.agree(t, other.URL)); err == nil || !strings.Contains(err.Error(), "another authorization") {
			t.Errorf("the code of another authorization: %v", err)
		}
		stolen := s.agree(t, other.URL)
		stolen.Set("state", s.agree(t, mine.URL).Get("state"))
		if err := mine.Finish(t.Context(), "app", stolen); err == nil {
			t.Error("a code that another verifier belongs to was exchanged")
		}
		if _, err := s.app().Connection(t.Context(), "app"); !errors.Is(err, credential.ErrNotConnected) {
			t.Errorf("something was stored: %v", err)
		}
	})
}

func TestTokensAreStoredSealedAndPrintedNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		set := s.replica(t)
		log := watched(t, set)
		token := sends(t, set.All()[0])
		for key, held := range s.values {
			if bytes.Contains(held.data, []byte(token)) || bytes.Contains(held.data, []byte("sbp_oauth_")) {
				t.Errorf("%s holds the token in the clear", key)
			}
		}
		if strings.Contains(log.String(), token) {
			t.Errorf("the log holds the token: %s", log)
		}
	})
}

func TestTokensAreRenewedBeforeTheirEndByOneReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		replicas := []*credential.Set{s.replica(t), s.replica(t), s.replica(t)}
		watched(t, replicas...)
		first := sends(t, replicas[0].All()[0])
		asked := s.asked()
		time.Sleep(49 * time.Minute) // a fifth of the hour is left at 48
		synctest.Wait()
		now := map[string]bool{}
		for _, set := range replicas {
			now[sends(t, set.All()[0])] = true
		}
		if len(now) != 1 || now[first] || s.asked() != asked+1 {
			t.Errorf("%d tokens are in use, %d were asked for; want one new one for all", len(now), s.asked()-asked)
		}
		time.Sleep(24 * time.Hour)
		if c := replicas[1].All()[0]; !s.works(sends(t, c)) || s.asked() > asked+32 {
			t.Errorf("a day later: healthy %v after %d renewals", c.Healthy(), s.asked()-asked)
		}
	})
}

func TestA401RenewsOnceForAllWhoMeetIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		one, two := s.replica(t).All()[0], s.replica(t).All()[0]
		refused, asked := bearerOf(t, one), s.asked()
		var meeting sync.WaitGroup
		for i := range 20 {
			c := one
			if i%2 == 1 {
				c = two
			}
			meeting.Go(func() {
				if err := c.Renew(t.Context(), refused); err != nil {
					t.Errorf("Renew: %v", err)
				}
			})
		}
		meeting.Wait()
		if s.asked() != asked+1 || sends(t, one) != sends(t, two) || !s.works(sends(t, one)) {
			t.Errorf("%d tokens were asked for, want one for all", s.asked()-asked)
		}
	})
}

func TestATokenThatIsRefusedTooIsNotRenewedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		c := s.replica(t).All()[0]
		if err := c.Renew(t.Context(), bearerOf(t, c)); err != nil {
			t.Fatal(err)
		}
		asked, second := s.asked(), bearerOf(t, c)
		if err := c.Renew(t.Context(), second); err == nil || s.asked() != asked {
			t.Errorf("the second token was renewed: %v", err)
		}
		c.Observe(second, http.StatusOK, time.Now())
		if err := c.Renew(t.Context(), second); err != nil {
			t.Errorf("a token that upstream accepted meanwhile: %v", err)
		}
	})
}

// TestACancelledRequestDoesNotBurnTheRefreshToken: who began a renewal may leave; upstream has taken the refresh token.
func TestACancelledRequestDoesNotBurnTheRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		set := s.replica(t)
		c := set.All()[0]
		s.spoiled(func(r *http.Request, answer func() *http.Response) (*http.Response, error) {
			rotated := answer()
			select {
			case <-time.After(3 * time.Second):
				return rotated, nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if err := c.Renew(ctx, bearerOf(t, c)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Renew = %v, want the caller's own end", err)
		}
		set.Close()
		other := s.replica(t).All()[0]
		if connection, err := s.app().Connection(t.Context(), "app"); err != nil || !connection.Interrupted.IsZero() || sends(t, c) != sends(t, other) {
			t.Errorf("the new tokens are not stored: %+v, %v", connection, err)
		}
	})
}

// TestACrashBetweenRotationAndStoringIsSaidPlainly: a process ended after upstream had rotated and before it stored.
func TestACrashBetweenRotationAndStoringIsSaidPlainly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		crashing := s.replica(t).All()[0]
		token := sends(t, crashing)
		s.spoiled(func(_ *http.Request, answer func() *http.Response) (*http.Response, error) {
			answer() // upstream rotates, and nobody hears of it
			return nil, io.ErrUnexpectedEOF
		})
		if err := crashing.Renew(t.Context(), bearerOf(t, crashing)); err == nil {
			t.Fatal("the answer was lost, and the renewal succeeded")
		}
		s.spoiled(nil)
		if connection, err := s.app().Connection(t.Context(), "app"); err != nil || connection.Interrupted.IsZero() {
			t.Errorf("the attempt is not noted: %+v, %v", connection, err)
		}
		set := s.replica(t) // the process starts again
		log := watched(t, set)
		c := set.All()[0]
		if got := sends(t, c); got != token || !c.Healthy() {
			t.Errorf("the token that still works is not in use")
		}
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		if c.Healthy() || !strings.Contains(c.Fault(), "interrupted") || !strings.Contains(c.Fault(), "connect it again") || !strings.Contains(log.String(), "interrupted") {
			t.Errorf("healthy %v, fault %q, log %s", c.Healthy(), c.Fault(), log)
		}
		if got := sends(t, c); got != token {
			t.Error("the token is not used to its end")
		}
		time.Sleep(10 * time.Minute)
		if _, err := c.Bearer(t.Context()); problem.From(err).Code != problem.UpstreamCredential {
			t.Errorf("after its end: %v", err)
		}
		s.connect(t)
		synctest.Wait()
		if !c.Healthy() || !s.works(sends(t, c)) {
			t.Errorf("connected again: %q", c.Fault())
		}
	})
}

func TestNewTokensAreUsedThoughTheyCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		set := s.replica(t)
		log := watched(t, set)
		c := set.All()[0]
		old := sends(t, c)
		puts := 0
		heal := s.failing(func(what, table string) bool {
			if what == "put" && table == "credentials" {
				puts++
			}
			return puts > 1 // the note is written, the tokens are not
		})
		if err := c.Renew(t.Context(), bearerOf(t, c)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := sends(t, c); got == old || !s.works(got) || !strings.Contains(log.String(), "cannot be stored") {
			t.Errorf("upstream rotated, and the old token is in use; log %s", log)
		}
		heal()
		time.Sleep(time.Minute)
		if other := s.replica(t).All()[0]; sends(t, other) != sends(t, c) {
			t.Error("the tokens were not stored when the store was back")
		}
	})
}

func TestAnUpstreamThatIsAwayIsAskedAgainWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		set := s.replica(t)
		watched(t, set)
		c, asked := set.All()[0], s.asked()
		s.spoiled(func(*http.Request, func() *http.Response) (*http.Response, error) {
			return &http.Response{StatusCode: 503, Body: io.NopCloser(strings.NewReader("away")), Header: http.Header{}}, nil
		})
		time.Sleep(70 * time.Minute)
		for range 100 {
			if _, err := c.Bearer(t.Context()); problem.From(err).Code != problem.UpstreamCredential {
				t.Fatalf("the token is over, and Bearer = %v", err)
			}
		}
		if n := s.asked() - asked; n < 10 || n > 30 || c.Healthy() {
			t.Errorf("upstream was asked %d times in 22 minutes, healthy %v", n, c.Healthy())
		}
		s.spoiled(nil)
		time.Sleep(2 * time.Minute)
		if !c.Healthy() || !s.works(sends(t, c)) {
			t.Errorf("upstream is back: %q", c.Fault())
		}
	})
}

func TestAWrongClientSecretSpendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		c := s.replica(t).All()[0]
		s.spoiled(func(r *http.Request, answer func() *http.Response) (*http.Response, error) {
			r.SetBasicAuth(clientID, "wrong")
			return answer(), nil
		})
		if err := c.Renew(t.Context(), bearerOf(t, c)); err == nil || !strings.Contains(err.Error(), "client secret") {
			t.Errorf("Renew = %v", err)
		}
		connection, err := s.app().Connection(t.Context(), "app")
		if err != nil || !connection.Interrupted.IsZero() || connection.Fault != "" {
			t.Errorf("stored: %+v, %v", connection, err)
		}
	})
}

func TestAReplicaThatCrashedWithTheLockHoldsNobodyUpForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		c := s.replica(t).All()[0]
		if err := s.Create(t.Context(), "credential-locks", "app", []byte("somebody"), time.Now().Add(50*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := c.Renew(t.Context(), bearerOf(t, c)); err == nil {
			t.Error("two renew at once")
		}
		time.Sleep(50 * time.Second)
		if err := c.Renew(t.Context(), bearerOf(t, c)); err != nil {
			t.Errorf("after the lock's end: %v", err)
		}
	})
}

func TestAnAppThatWasNeverConnectedHasNoTokenThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := watched(t, newStage(t, time.Hour).replica(t)).String()
		if !strings.Contains(log, "not connected") || strings.Contains(log, "last_token_ends") {
			t.Errorf("logged %s", log)
		}
	})
}

func TestDisconnectingRevokesAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		set := s.replica(t)
		watched(t, set)
		c := set.All()[0]
		token := sends(t, c)
		s.spoiled(func(*http.Request, func() *http.Response) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
		if err := s.app().Disconnect(t.Context(), "app", false); err == nil || !s.works(token) {
			t.Errorf("upstream could not be asked: %v", err)
		}
		s.spoiled(nil)
		if err := s.app().Disconnect(t.Context(), "app", false); err != nil || s.works(token) {
			t.Errorf("Disconnect = %v, the token works: %v", err, s.works(token))
		}
		synctest.Wait()
		if c.Healthy() || !strings.Contains(c.Fault(), "not connected") {
			t.Errorf("the running gateway goes on: %q", c.Fault())
		}
		if err := s.app().Disconnect(t.Context(), "app", false); !errors.Is(err, credential.ErrNotConnected) {
			t.Errorf("twice: %v", err)
		}
		s.connect(t)
		synctest.Wait()
		if !c.Healthy() || !s.works(sends(t, c)) {
			t.Errorf("connected again: %q", c.Fault())
		}
	})
}

func TestHealthIsRecordedForTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		s.connect(t)
		set := s.replica(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go set.Record(ctx, s.memory, slog.New(slog.DiscardHandler))
		c := set.All()[0]
		for _, status := range []int{200, 401, 200} {
			c.Observe(bearerOf(t, c), status, time.Now())
			synctest.Wait()
			report, found, err := credential.LastReport(t.Context(), s.memory, "app")
			if err != nil || !found || report.Healthy != (status == 200) || (report.Fault == "") != report.Healthy {
				t.Errorf("after %d: %+v, %v, %v", status, report, found, err)
			}
		}
	})
}
