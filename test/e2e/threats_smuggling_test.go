package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

func TestRequestSmuggling(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	post := "POST " + own + "/secrets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + token + "\r\n"
	// smuggled is what a proxy in front would have taken for the end of a body.
	smuggled := "DELETE " + own + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n\r\n"
	for name, request := range map[string]string{
		"CL.TE":                          post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE.CL":                          post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
		"CL.TE in another case":          post + "content-length: 5\r\nTRANSFER-ENCODING: Chunked\r\n\r\n0\r\n\r\n",
		"CL.TE folded":                   post + "Content-Length: 5\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n",
		"CL.TE behind LF":                post + "X-A: b\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"CL.CL":                          post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]\n",
		"CL.CL in one line":              post + "Content-Length: 2, 3\r\n\r\n[]\n",
		"a signed length":                post + "Content-Length: +2\r\n\r\n[]",
		"a space before the colon":       post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"TE.TE":                          post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
		"a coding in disguise":           post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		"an unknown coding":              post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"chunks in HTTP/1.0":             strings.Replace(post, "HTTP/1.1", "HTTP/1.0", 1) + "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a chunk line that ends in LF":   post + "Transfer-Encoding: chunked\r\n\r\n2\n[]\r\n0\r\n\r\n",
		"a last chunk that ends in LF":   post + "Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\n\r\n",
		"LF in a chunk's extension":      post + "Transfer-Encoding: chunked\r\n\r\n2;x=\ny\r\n[]\r\n0\r\n\r\n",
		"a chunk longer than it says":    post + "Transfer-Encoding: chunked\r\n\r\n1\r\n[]\r\n0\r\n\r\n",
		"a chunk size that overflows":    post + "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n[]\r\n0\r\n\r\n",
		"a negative chunk size":          post + "Transfer-Encoding: chunked\r\n\r\n-2\r\n[]\r\n0\r\n\r\n",
		"a line break in a field":        post + "Content-Length: 2\r\nX-A: b\rc\r\n\r\n[]",
		"a field without a colon":        post + "Content-Length: 2\r\nnonsense\r\n\r\n[]",
		"NUL in a field":                 post + "Content-Length: 2\r\nX-A: \x00\r\n\r\n[]",
		"a first field that is indented": "POST " + own + "/secrets HTTP/1.1\r\n Host: x\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connection, answers := open(t, g, request+smuggled)
			response, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusBadRequest && response.StatusCode != http.StatusNotImplemented {
				t.Errorf("answered %d, want 400", response.StatusCode)
			}
			io.Copy(io.Discard, response.Body)
			if rest, _ := io.ReadAll(answers); len(rest) > 0 { // the connection may be reset, since something was left unread
				t.Errorf("what followed was answered, too: %.100q", rest)
			}
			connection.Close()
		})
	}
	t.Cleanup(func() {
		for _, r := range g.Upstream.Requests() {
			if r.Method == "DELETE" || r.Status != 0 && r.Status < 400 {
				t.Errorf("upstream carried out %s %s: %d", r.Method, r.Target, r.Status)
			}
		}
	})
}

func TestABodyThatLooksLikeARequestStaysABody(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	body := `{"query":"select 1","parameters":["` + strings.Repeat("x", 10) + `"]}` + "\r\n0\r\n\r\nDELETE " + own + " HTTP/1.1\r\nHost: x\r\n\r\n"
	head := "POST " + own + "/secrets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + g.Token("payments") + "\r\n"
	for name, request := range map[string]string{
		"of known length": head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		"in chunks":       head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
	} {
		t.Run(name, func(t *testing.T) {
			before := len(g.Upstream.Requests())
			a := send(t, g, request)
			got := g.Upstream.Requests()[before:]
			if len(got) != 1 || got[0].Method != "POST" || got[0].BodyBytes != int64(len(body)) {
				t.Errorf("upstream got %+v, want one POST with %d bytes", got, len(body))
			}
			if name == "in chunks" && !a.Close {
				t.Error("the connection stays open behind chunks")
			}
		})
	}
}
