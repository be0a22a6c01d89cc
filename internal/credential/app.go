package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"corp.example/gateway/internal/secret"
)

// App is an OAuth app that upstream knows, with a way to reach upstream's endpoints.
type App struct {
	ClientID string
	Secret   secret.Source // where its client secret is kept; it is read for each use, so that it may be replaced
	Upstream string        // upstream's base URL without a slash at its end
	Client   *http.Client  // reaches upstream and follows no redirects
	Vault    *Vault        // where its tokens are kept
	Getenv   func(string) string
}

// maxRefusalBytes bounds what is read of upstream's answer to a revocation.
const maxRefusalBytes = 4 << 10

// The ways in which upstream may refuse to give tokens. Everything else means that nobody knows what it did.
var (
	errGrantRefused = errors.New("upstream refused the refresh token")
	errAppRefused   = errors.New("upstream refused the app's client id or client secret")
)

// config is the app in the library's terms. Upstream authenticates it by HTTP Basic.
func (a *App) config(clientSecret, redirect string) *oauth2.Config {
	return &oauth2.Config{ClientID: a.ClientID, ClientSecret: clientSecret, RedirectURL: redirect, Endpoint: oauth2.Endpoint{
		AuthURL: a.Upstream + "/v1/oauth/authorize", TokenURL: a.Upstream + "/v1/oauth/token", AuthStyle: oauth2.AuthStyleInHeader,
	}}
}

// exchange turns an authorization code into tokens.
func (a *App) exchange(ctx context.Context, code, redirect, verifier string) (*grant, error) {
	clientSecret, err := a.Secret.Read(a.Getenv)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, a.Client)
	token, err := a.config(clientSecret.Reveal(), redirect).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, refusal(err)
	}
	return a.grant(token)
}

// refresh turns a refresh token into the next pair. Where upstream does not rotate, the refresh token stays the same.
func (a *App) refresh(ctx context.Context, refresh secret.Text) (*grant, error) {
	clientSecret, err := a.Secret.Read(a.Getenv)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAppRefused, err)
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, a.Client)
	token, err := a.config(clientSecret.Reveal(), "").TokenSource(ctx, &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	if err != nil {
		return nil, refusal(err)
	}
	return a.grant(token)
}

func (a *App) grant(token *oauth2.Token) (*grant, error) {
	if token.RefreshToken == "" {
		return nil, errors.New("upstream gave no refresh token")
	}
	return &grant{access: secret.New(token.AccessToken), refresh: secret.New(token.RefreshToken), obtained: time.Now(), expires: token.Expiry, client: a.ClientID}, nil
}

// refusal gives an error of the token endpoint its kind. Its body is left out: it could hold what was sent.
func refusal(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.Response == nil {
		return fmt.Errorf("asking upstream for tokens: %w", err)
	}
	switch status := refused.Response.StatusCode; {
	case status == http.StatusUnauthorized, refused.ErrorCode == "invalid_client", refused.ErrorCode == "unauthorized_client":
		return errAppRefused
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status < 400, status >= 500:
		return fmt.Errorf("upstream answered %d when asked for tokens", status)
	default:
		return fmt.Errorf("%w with status %d", errGrantRefused, status)
	}
}

// revoke ends a grant upstream. Tokens that upstream does not know any more are no error.
func (a *App) revoke(ctx context.Context, refresh secret.Text) error {
	clientSecret, err := a.Secret.Read(a.Getenv)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"client_id": a.ClientID, "client_secret": clientSecret.Reveal(), "refresh_token": refresh.Reveal()})
	if err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Upstream+"/v1/oauth/revoke", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.Client.Do(request)
	if err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxRefusalBytes)
	switch status := response.StatusCode; {
	case status < 300, status == http.StatusBadRequest, status == http.StatusNotFound:
		return nil
	case status == http.StatusUnauthorized:
		return errAppRefused
	default:
		return fmt.Errorf("upstream answered %d when asked to revoke the tokens", status)
	}
}
