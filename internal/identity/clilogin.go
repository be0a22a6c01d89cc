package identity

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/state"
)

const (
	// loginTime is how long a code waits to be typed into the terminal beside the browser.
	loginTime = 5 * time.Minute
	// loginTries is how many wrong codes end a login. With codes of 40 bits nobody gets anywhere with five.
	loginTries = 5
	// maxLogins bounds what one person may leave waiting.
	maxLogins    = 10
	loginCodeLen = 8
)

// loginRecord is a "supabase login" between the browser, where somebody has agreed to it, and the terminal, where the
// code has yet to be typed. The token in it is encrypted to the CLI's key and works only once the code was right: a login
// that nobody finishes leaves no token behind.
type loginRecord struct {
	Code    []byte      `json:"code"` // hash of the verification code
	Tries   int         `json:"tries"`
	Expires time.Time   `json:"expires"`
	Token   tokenRecord `json:"token"`
	Answer  CLIAnswer   `json:"answer"`
}

// CLIAnswer is what the Supabase CLI expects from its poll, as JSON.
type CLIAnswer struct {
	ID          string `json:"id"`
	CreatedAt   string `json:"created_at"`   // RFC 3339
	AccessToken string `json:"access_token"` // the token, encrypted with AES-256-GCM, its tag at the end, in hex
	PublicKey   string `json:"public_key"`   // this side's P-256 point, uncompressed, in hex
	Nonce       string `json:"nonce"`        // in hex
}

// CheckLoginLink reports what is wrong with the parts of a link that "supabase login" shows.
func CheckLoginLink(sessionID, publicKey string) error {
	if !isLoginSession(sessionID) {
		return errors.New("session_id is not an id")
	}
	_, err := parsePoint(publicKey)
	return err
}

// BeginCLI agrees, in the name of the caller, to the login that the Supabase CLI opened the browser for, and returns the
// verification code to show. sessionID, publicKey (an uncompressed P-256 point in hex) and tokenName come from the link.
// The portal must have asked first: the link may have been sent by somebody else, who would get the caller's token if
// the caller told them the code.
func (s *Service) BeginCLI(ctx context.Context, sessionID, publicKey, tokenName string, caller *Caller) (code string, err error) {
	broken := problem.New(http.StatusBadRequest, problem.BadRequest,
		"This login link is not complete. Run supabase login again and open the whole link.")
	if !isLoginSession(sessionID) {
		return "", broken.Because(errors.New("session_id is not an id"))
	}
	peer, err := parsePoint(publicKey)
	if err != nil {
		return "", broken.Because(err)
	}
	if err := s.checkLogins(ctx, caller); err != nil {
		return "", err
	}
	secret, token, err := s.prepare(ctx, MintRequest{Owner: caller, Name: tokenName})
	if err != nil {
		return "", err
	}
	answer, err := encryptFor(peer, secret)
	if err != nil {
		return "", err
	}
	answer.ID, answer.CreatedAt = token.ID, token.Created.Format(time.RFC3339)
	code = rand.Text()[:loginCodeLen]
	hash := hashOf(code)
	err = s.putLogin(ctx, s.store.Create, sessionID, loginRecord{
		Code: hash[:], Expires: time.Now().Add(loginTime), Token: *token, Answer: *answer,
	})
	if errors.Is(err, state.ErrExists) {
		return "", problem.New(http.StatusBadRequest, problem.BadRequest, "This login link was used already. Run supabase login again.")
	}
	if err != nil {
		return "", unavailable("keeping the login", err)
	}
	return code, nil
}

// PollCLI is the Supabase CLI asking for its token with the code that was typed. It comes without any credential, from
// the address remote. Wrong codes count as failures of that address, and one that failed too often is not heard for a
// while: a code is short enough to be worth guessing at. The answer is given once.
func (s *Service) PollCLI(ctx context.Context, sessionID, code string, remote netip.Addr) (*CLIAnswer, error) {
	if err := s.attempts.barred(remote, time.Now()); err != nil {
		return nil, err
	}
	wrong := func(detail string) (*CLIAnswer, error) {
		return nil, s.attempts.slow(s.refuse(&Refusal{Reason: LoginCode, Err: errors.New(detail)}), remote, time.Now())
	}
	if !isLoginSession(sessionID) {
		return wrong("the session is not an id")
	}
	// Taken and put back, so that of many polls at once each counts as a try.
	raw, err := s.store.Take(ctx, tableLogins, loginKey(sessionID))
	if errors.Is(err, state.ErrNotFound) {
		return wrong("no such login is waiting")
	}
	if err != nil {
		return nil, unavailable("reading the login", err)
	}
	var login loginRecord
	if err := json.Unmarshal(raw, &login); err != nil {
		return nil, fmt.Errorf("login record: %w", err)
	}
	typed := hashOf(strings.ToUpper(strings.TrimSpace(code)))
	if subtle.ConstantTimeCompare(login.Code, typed[:]) != 1 {
		if login.Tries++; login.Tries < loginTries {
			if err := s.putLogin(ctx, s.store.Put, sessionID, login); err != nil {
				return nil, unavailable("keeping the login", err)
			}
		}
		return wrong("wrong verification code")
	}
	if err := s.activate(ctx, &login.Token); err != nil {
		return nil, err
	}
	return &login.Answer, nil
}

// putLogin stores the record with put, which is the store's Put or Create.
func (s *Service) putLogin(ctx context.Context, put func(context.Context, string, string, []byte, time.Time) error,
	sessionID string, login loginRecord) error {
	raw, err := json.Marshal(login)
	if err != nil {
		return fmt.Errorf("encoding login: %w", err)
	}
	return put(ctx, tableLogins, loginKey(sessionID), raw, login.Expires)
}

// checkLogins refuses to let one person leave too many logins waiting.
func (s *Service) checkLogins(ctx context.Context, caller *Caller) error {
	waiting := 0
	err := s.store.Scan(ctx, tableLogins, func(_ string, raw []byte) error {
		var login loginRecord
		if err := json.Unmarshal(raw, &login); err != nil {
			return fmt.Errorf("login record: %w", err)
		}
		if login.Token.OwnedBy(caller) {
			waiting++
		}
		return nil
	})
	if err != nil {
		return unavailable("counting logins", err)
	}
	if waiting >= maxLogins {
		return problem.New(http.StatusBadRequest, problem.BadRequest,
			"%d logins of yours are still waiting for their code. Wait some minutes and run supabase login again.", waiting)
	}
	return nil
}

// loginKey hashes the session id, which is half of what a poll needs to know.
func loginKey(sessionID string) string { return hashOf(sessionID).String() }

// isLoginSession accepts the UUIDs the CLI makes.
func isLoginSession(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') {
			return false
		}
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// parsePoint reads the CLI's key. Points off the curve are refused by crypto/ecdh.
func parsePoint(text string) (*ecdh.PublicKey, error) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return nil, errors.New("public_key is not hex")
	}
	key, err := ecdh.P256().NewPublicKey(raw)
	if err != nil {
		return nil, errors.New("public_key is not a point of P-256")
	}
	return key, nil
}

// encryptFor encrypts the token as the CLI decrypts it: the raw ECDH secret is the AES key. Both keys are used once, so
// the lack of a key derivation does no harm.
func encryptFor(peer *ecdh.PublicKey, secret string) (*CLIAnswer, error) {
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	shared, err := own.ECDH(peer)
	if err != nil {
		return nil, fmt.Errorf("agreeing on a key: %w", err)
	}
	block, err := aes.NewCipher(shared)
	if err != nil {
		return nil, fmt.Errorf("agreeing on a key: %w", err)
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("agreeing on a key: %w", err)
	}
	nonce := make([]byte, box.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return &CLIAnswer{
		AccessToken: hex.EncodeToString(box.Seal(nil, nonce, []byte(secret), nil)),
		PublicKey:   hex.EncodeToString(own.PublicKey().Bytes()),
		Nonce:       hex.EncodeToString(nonce),
	}, nil
}
