package identity_test

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/sandbox/idp"
)

var crowd = idp.Person{Subject: "eve-3", Email: "eve@corp.example", EmailVerified: true, Groups: []string{"a", "b"}, GroupsOverage: true}

func fromUserInfo(c *identity.Config) { c.Issuers[0].Claims.OverageUserInfo = true }

func TestGroupsOverageOfABearer(t *testing.T) {
	s := newStageAlone(t, fromUserInfo)
	s.corp.Put(crowd)
	token := s.corp.Token(crowd.Subject, audience)
	for range 3 {
		if got := s.good(t, token).Groups; !slices.Equal(got, crowd.Groups) {
			t.Errorf("the groups are %q, want those of userinfo", got)
		}
	}
	if asked := s.corp.Requests(idp.UserInfo); asked != 1 {
		t.Errorf("userinfo was asked %d times, want once: the groups are remembered with the token", asked)
	}
	s.good(t, s.corp.Token(ada.Subject, audience))
	if asked := s.corp.Requests(idp.UserInfo); asked != 1 {
		t.Error("userinfo was asked about a token that lists its groups")
	}
	s.refused(t, s.corp.Token(crowd.Subject, audience, idp.SignedByStranger()), identity.BadSignature)
	s.refused(t, s.corp.Token(crowd.Subject, "elsewhere"), identity.WrongAudience)
	if asked := s.corp.Requests(idp.UserInfo); asked != 1 {
		t.Error("userinfo was asked about a token that is not good")
	}
}

func TestGroupsOverageThatUserInfoDoesNotMend(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body + r.Header.Get("Authorization"))) // whatever it echoes stays out of errors
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		status int
		reason identity.Reason
	}{
		"the token is not for userinfo": {answer(401, "no: "), 401, identity.GroupsOverage},
		"it has no groups either":       {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"sub":"eve-3"}`)) }), 401, identity.GroupsOverage},
		"it speaks of somebody else": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"sub":"root","groups":["admin"]}`))
		}), 503, identity.Unavailable},
		"it is down":          {answer(503, "down: "), 503, identity.Unavailable},
		"it answers nonsense": {answer(200, "<html>"), 503, identity.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStageAlone(t, fromUserInfo)
			s.corp.Put(crowd)
			s.UseTransport("corp", inProcess{instead(s.corp, "/userinfo", c.answer)})
			token := s.corp.Token(crowd.Subject, audience)
			_, err := s.bearer(t, token)
			wantRefusal(t, err, c.status, c.reason, token)
		})
	}
}

// A fleet of jobs that begin together is not as many questions at a time.
func TestGroupsOverageFlood(t *testing.T) {
	s := newStageAlone(t, fromUserInfo)
	s.corp.Put(crowd)
	const jobs = 3 * identity.MaxOverages
	var now, most atomic.Int32
	full, release := make(chan struct{}), make(chan struct{})
	s.UseTransport("corp", inProcess{instead(s.corp, "/userinfo", func(w http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
			if n == identity.MaxOverages {
				close(full)
			}
		}
		<-release
		now.Add(-1)
		s.corp.ServeHTTP(w, r)
	})})
	done := make(chan error, jobs)
	for range jobs {
		token := s.corp.Token(crowd.Subject, audience)
		go func() {
			_, err := s.Authenticate(t.Context(), []string{"Bearer " + token}, home)
			done <- err
		}()
	}
	<-full
	close(release)
	for range jobs {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > identity.MaxOverages {
		t.Errorf("%d questions at a time, want at most %d", most.Load(), identity.MaxOverages)
	}
}
