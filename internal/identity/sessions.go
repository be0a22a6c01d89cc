package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/state"
)

const (
	// sessionIdle ends a session nobody uses: a working day, so that lunch does not, and a night does.
	sessionIdle = 8 * time.Hour
	// sessionAbsolute ends every session: once a day the identity provider is asked again, and with it who is in which
	// group.
	sessionAbsolute = 24 * time.Hour
	// sessionTouch is how exact the idle time is, so that not every page view is a write.
	sessionTouch = 5 * time.Minute
)

// Session is a browser that somebody signed in with.
type Session struct {
	Caller  *Caller
	CSRF    string    // goes into every form of the portal, and comes back with it
	Expires time.Time // when it ends at the latest
}

// sessionRecord is what the store keeps, under the hash of the cookie. Who it is about is in the owner's record. It is
// written once: when it was last seen is kept apart, or a page view during a sign-out could bring it back.
type sessionRecord struct {
	Issuer  string    `json:"issuer"`
	Subject string    `json:"subject"`
	Created time.Time `json:"created"`
}

func (r sessionRecord) expires() time.Time { return r.Created.Add(sessionAbsolute) }

// startSession begins a session under a new name, whatever the browser sent: a name somebody else knows is never taken
// over (session fixation). The browser's former session ends.
func (s *Service) startSession(w http.ResponseWriter, r *http.Request, c *Caller) error {
	if old := s.cookies.session.get(r); old != "" {
		if err := s.store.Delete(r.Context(), tableSessions, hashOf(old).String()); err != nil {
			return err
		}
	}
	value := rand.Text() // 130 bits
	record := sessionRecord{Issuer: c.Issuer, Subject: c.Subject, Created: time.Now().UTC()}
	raw, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encoding session: %w", err)
	}
	if err := s.store.Put(r.Context(), tableSessions, hashOf(value).String(), raw, record.expires()); err != nil {
		return err
	}
	s.cookies.session.set(w, value, sessionAbsolute)
	return nil
}

// Session returns the request's session. The error is a *problem.Error: 401 where there is none (any more), 503 where the
// state cannot be asked, which ends no session.
func (s *Service) Session(r *http.Request) (*Session, error) {
	value := s.cookies.session.get(r)
	if value == "" {
		return nil, signedOut(errors.New("no session cookie"))
	}
	key := hashOf(value).String()
	record, err := s.session(r.Context(), key)
	if errors.Is(err, state.ErrNotFound) {
		return nil, signedOut(errors.New("unknown or expired session"))
	}
	if err != nil {
		return nil, unavailable("reading the session", err)
	}
	if err := s.touch(r.Context(), key, record); err != nil {
		return nil, err
	}
	owner, refusal := s.standing(r.Context(), ownerKey(record.Issuer, record.Subject))
	if refusal != nil {
		return nil, s.refuse(refusal)
	}
	caller := &Caller{Kind: owner.Kind, Issuer: record.Issuer, Subject: record.Subject, Expires: record.expires()}
	owner.lend(caller)
	return &Session{Caller: caller, CSRF: csrf(value), Expires: record.expires()}, nil
}

func (s *Service) session(ctx context.Context, key string) (record sessionRecord, err error) {
	raw, err := s.store.Get(ctx, tableSessions, key)
	if err != nil {
		return record, err
	}
	return record, json.Unmarshal(raw, &record)
}

// touch refuses a session that was idle for too long, and notes that it is not.
func (s *Service) touch(ctx context.Context, key string, record sessionRecord) error {
	now, seen := time.Now(), record.Created
	switch raw, err := s.store.Get(ctx, tableSeen, key); {
	case err == nil:
		if noted, err := time.Parse(time.RFC3339, string(raw)); err == nil && noted.After(seen) {
			seen = noted
		}
	case !errors.Is(err, state.ErrNotFound):
		return unavailable("reading the session", err)
	}
	idle := now.Sub(seen)
	if idle >= sessionIdle {
		return signedOut(errors.New("session idle for too long"))
	}
	if idle < sessionTouch {
		return nil
	}
	noted := []byte(now.UTC().Format(time.RFC3339))
	if err := s.store.Put(ctx, tableSeen, key, noted, now.Add(sessionIdle)); err != nil {
		return unavailable("keeping the session", err)
	}
	return nil
}

// signedOut is the answer where nobody is signed in: the portal turns it into its sign-in page.
func signedOut(detail error) error {
	return problem.New(http.StatusUnauthorized, problem.Unauthenticated, "You are not signed in.").
		Because(&Refusal{Reason: Missing, Err: detail})
}

// csrf derives the session's CSRF token from its cookie, which other sites cannot read: nothing needs to be stored.
func csrf(session string) string {
	mac := hmac.New(sha256.New, []byte(session))
	mac.Write([]byte("gateway csrf"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// CheckCSRF returns a 403 *problem.Error unless token is the session's.
func (s *Session) CheckCSRF(token string) error {
	if s.CSRF != "" && hmac.Equal([]byte(token), []byte(s.CSRF)) {
		return nil
	}
	return problem.New(http.StatusForbidden, problem.CSRF, "This form is from a page of another session, so nothing was done. Open that page anew and do it there.")
}

// End signs the browser out and returns the URL to send it to: the identity provider's own sign-out where it has one, so
// that the next sign-in asks again, otherwise the portal. The provider is not sent the ID token as a hint, which would
// have to be kept for that; it may therefore ask the person to confirm.
func (s *Service) End(w http.ResponseWriter, r *http.Request) (string, error) {
	value := s.cookies.session.get(r)
	if value == "" {
		s.cookies.session.clear(w)
		return home, nil
	}
	raw, err := s.store.Take(r.Context(), tableSessions, hashOf(value).String())
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return "", unavailable("ending the session", err) // the cookie stays: without it nobody could end it later
	}
	s.cookies.session.clear(w)
	if err != nil {
		return home, nil
	}
	var record sessionRecord
	if err := json.Unmarshal(raw, &record); err != nil {
		return "", fmt.Errorf("session record: %w", err)
	}
	return s.signOutURL(record.Issuer), nil
}

// signOutURL is the issuer's end of session (OpenID Connect RP-Initiated Logout 1.0 section 2), home where it offers
// none or is not known to.
func (s *Service) signOutURL(issuerName string) string {
	iss, ok := s.byName[issuerName]
	if !ok || iss.Client == nil {
		return home
	}
	ring := iss.ring.Load()
	if ring == nil || ring.endSession == "" {
		return home
	}
	u, err := url.Parse(ring.endSession)
	if err != nil {
		return home
	}
	q := u.Query()
	q.Set("client_id", iss.Client.ID)
	q.Set("post_logout_redirect_uri", strings.TrimSuffix(s.cfg.PublicURL, "/")+home)
	u.RawQuery = q.Encode()
	return u.String()
}
