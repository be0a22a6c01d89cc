package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"corp.example/gateway/internal/problem"
)

func TestHideTakesSecretsOutOrPassesNothingOn(t *testing.T) {
	for name, test := range map[string]struct {
		body io.Reader
		want string
		code problem.Code
	}{
		"a secret":          {strings.NewReader(`{"id":1,"password":"p4ss","deep":[{"password":"p4ss"}]}`), "", ""},
		"nothing":           {strings.NewReader(""), "", ""},
		"what is no JSON":   {strings.NewReader("password: p4ss"), "", problem.UpstreamFailed},
		"what is too large": {strings.NewReader(`{"id":1}` + strings.Repeat(" ", hiddenBytes)), "", problem.UpstreamFailed},
		"what breaks off":   {io.MultiReader(strings.NewReader(`{"id":1,`), iotest.ErrReader(io.ErrUnexpectedEOF)), "", problem.UpstreamFailed},
		"what stalls":       {iotest.ErrReader(errStalled), "", problem.UpstreamTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			response := &http.Response{Header: http.Header{"Content-Length": {"55"}, "Etag": {`"x"`}}, Body: io.NopCloser(test.body), ContentLength: 55}
			err := hide(response, []string{"password"})
			if test.code != "" {
				if problem.From(err).Code != test.code {
					t.Errorf("error %v, want %s", err, test.code)
				}
				return
			}
			body, readErr := io.ReadAll(response.Body)
			if err != nil || readErr != nil || strings.Contains(string(body), "p4ss") {
				t.Errorf("passed on %q, %v, %v", body, err, readErr)
			}
			if len(body) > 0 && (response.ContentLength != int64(len(body)) || response.Header.Get("Content-Length") != "" || response.Header.Get("Etag") != "") {
				t.Errorf("the header still speaks of the body that was: length %d, %v", response.ContentLength, response.Header)
			}
		})
	}
}

func TestTrailersShowNeitherTheSharedAccountNorTheCredential(t *testing.T) {
	got := trailers(http.Header{
		"X-Checksum": {"abc"}, "X-Gotrue-Id": {"owner"}, "Set-Cookie": {"a=b"}, "X-Echo": {"Bearer " + planted, "fine"},
		http.CanonicalHeaderKey("x-" + planted): {"1"}, "Set-Cookie ": {"a=b"},
	}, plantedOnly)
	want := http.Header{http.TrailerPrefix + "X-Checksum": {"abc"}, http.TrailerPrefix + "X-Echo": {"fine"}}
	if len(got) != len(want) || got.Get(http.TrailerPrefix+"X-Checksum") != "abc" || got.Get(http.TrailerPrefix+"X-Echo") != "fine" {
		t.Errorf("trailers %v, want %v", got, want)
	}
}

func TestAStallIsToldFromACancelledRequest(t *testing.T) {
	// HTTP/2 reports a cancelled exchange without its cause.
	broken := func() io.ReadCloser { return io.NopCloser(iotest.ErrReader(context.Canceled)) }
	for cause, want := range map[error]problem.Code{errStalled: problem.UpstreamTimeout, nil: problem.UpstreamFailed} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		body := &answerBody{ReadCloser: broken(), ctx: ctx, guard: hourGuard(), cancel: cancel}
		_, err := io.ReadAll(body)
		if got := problem.From(unanswered(err, true)).Code; got != want {
			t.Errorf("cancelled because of %v: %s, want %s", cause, got, want)
		}
		body.Close()
	}
}

func TestWhoIsToldThatUpstreamFailedIsToldWhetherToLookFirst(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	lost := &net.OpError{Op: "read", Err: errors.New("connection reset")}
	for name, test := range map[string]struct {
		err    error
		isRead bool
		want   string
	}{
		"a write that never left":   {fmt.Errorf("asking: %w", refused), false, "Upstream could not be reached. Nothing was done there"},
		"a read that never left":    {refused, true, "Upstream could not be reached. Nothing was done there"},
		"a write that was lost":     {lost, false, "Upstream broke off before its answer was complete. The call may have taken effect all the same: look before you repeat it."},
		"a read that was lost":      {lost, true, "Upstream broke off before its answer was complete. The call changes nothing: try again shortly."},
		"a write without an answer": {errStalled, false, "Upstream did not answer in time. The call may have taken effect all the same: look before you repeat it."},
		"a read without an answer":  {errStalled, true, "Upstream did not answer in time. The call changes nothing: try again shortly."},
	} {
		if got := problem.From(unanswered(test.err, test.isRead)).Message; !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestAWatchedBodyRemembersWhatItFailedWith(t *testing.T) {
	fault := errors.New("broke off")
	for name, test := range map[string]struct {
		body io.Reader
		want error
	}{
		"whole":  {strings.NewReader("text"), nil},
		"broken": {io.MultiReader(strings.NewReader("te"), iotest.ErrReader(fault)), fault},
	} {
		watched := &watchedBody{ReadCloser: io.NopCloser(test.body)}
		if _, err := io.Copy(io.Discard, watched); err != test.want || watched.err != test.want {
			t.Errorf("%s: read to %v and remembered %v, want %v", name, err, watched.err, test.want)
		}
	}
}
