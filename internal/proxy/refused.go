package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/problem"
)

// observe learns from an answer what upstream thinks of the credential. Where upstream refused it, the answer's body is
// closed, and either the call may be sent again with another secret, or the error is the client's answer.
func (p *Proxy) observe(ctx context.Context, e *errand, sent credential.Bearer, response *http.Response, now time.Time) (again bool, err error) {
	switch response.StatusCode {
	case http.StatusUnauthorized:
		discard(response.Body)
		return p.renew(ctx, e, sent)
	case http.StatusForbidden:
		err = p.explain(e.credential, response)
	}
	if e.credential.Observe(sent, response.StatusCode, now) {
		p.config.Log.Info("upstream accepts the credential again", "credential", e.credential.Name())
	}
	return false, err
}

// renew looks for another secret after upstream refused one, once for each call. Upstream refused before it acted, so
// the same call may be sent again, if its body is still there.
func (p *Proxy) renew(ctx context.Context, e *errand, refused credential.Bearer) (again bool, err error) {
	if !e.renewed {
		if err = e.credential.Renew(ctx, refused); err == nil {
			e.renewed = true
			if e.body == nil || e.body.replayable() {
				return true, nil
			}
			return false, credential.Replaced(e.credential)
		}
		if ctx.Err() != nil {
			return false, ctx.Err() // nothing is known of the credential yet
		}
	}
	if e.credential.Observe(refused, http.StatusUnauthorized, time.Now()) {
		p.config.Log.Error("upstream refused the credential", "credential", e.credential.Name(), "fault", e.credential.Fault(), "error", err)
	}
	return false, credential.Refused(e.credential, nil)
}

// refusalBytes bounds a refusal that is read for what it says of permissions: upstream's have a few hundred bytes.
const refusalBytes = 64 << 10

// maxMissing bounds how many missing permissions are passed on: no operation needs more than a few.
const maxMissing = 20

// permissionForm keeps anything else than names of permissions out of the gateway's own words.
var permissionForm = regexp.MustCompile(`^[a-z][a-z0-9_:]{1,63}$`)

// explain finds out whether upstream refused a call because the credential lacks permissions. If so the client is told
// whose permissions those are, and the answer's body is closed; any other refusal is left as it is.
func (p *Proxy) explain(c *credential.Credential, response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, refusalBytes+1))
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), failing{err}, response.Body), response.Body}
	var refusal struct {
		Missing []string `json:"missing_permissions"`
	}
	if err != nil || len(body) > refusalBytes || json.Unmarshal(body, &refusal) != nil {
		return nil
	}
	var missing []string
	for _, name := range refusal.Missing {
		if permissionForm.MatchString(name) && !holds(name, c.Secrets()) && len(missing) < maxMissing {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	response.Body.Close()
	lacks := problem.New(http.StatusForbidden, problem.CredentialLacks,
		"The gateway's own credential %q lacks %s upstream. Your access is not the reason: the gateway's policy allows you this call. The platform team has to give the credential that permission.",
		c.Name(), strings.Join(missing, ", "))
	lacks.Missing = missing
	return lacks.Because(fmt.Errorf("credential %s lacks %s", c.Name(), strings.Join(missing, ", ")))
}

// failing is a reader that fails with an error, or is empty without one.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}
