package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

const (
	bundleBytes = 200 << 20
	// growthBytes is how much a 200 MB body may add to the gateway's memory. The race detector's shadow memory is larger
	// than the bound, so under it only the transfer itself is tested.
	growthBytes = 32 << 20
)

func TestA200MBBundlePassesInBothDirectionsWithoutBeingHeld(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Server: "max_body: 256MiB, "})
	token := g.Token("payments")
	upload(t, g, token, 1<<20) // buffers and connections are there from now on
	before := residentPeak(t, g)

	sum := upload(t, g, token, bundleBytes)
	requests := upstreamRequests(g, "/v1/projects/"+sandbox.Payments+"/functions/deploy")
	if got := requests[len(requests)-1]; got.BodySHA256 != sum || got.BodyBytes < bundleBytes {
		t.Errorf("upstream received %d bytes with hash %s, sent were %s", got.BodyBytes, got.BodySHA256, sum)
	}

	request, _ := http.NewRequest("GET", g.URL+"/v1/projects/"+sandbox.Payments+"/functions/large/body", nil)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if n, err := io.Copy(io.Discard, response.Body); err != nil || n < bundleBytes {
		t.Errorf("downloaded %d bytes with status %d: %v", n, response.StatusCode, err)
	}
	if growth := residentPeak(t, g) - before; growth > growthBytes && !harness.Race {
		t.Errorf("memory grew by %d MiB, want under %d", growth>>20, growthBytes>>20)
	}
}

// upload deploys a function of n bytes as the CLI does, chunked multipart, and returns the hash of what was sent.
func upload(t *testing.T, g *harness.Gateway, token string, n int64) string {
	t.Helper()
	reader, writer := io.Pipe()
	hash := sha256.New()
	form := multipart.NewWriter(io.MultiWriter(writer, hash))
	go func() {
		metadata, _ := form.CreateFormField("metadata")
		io.WriteString(metadata, `{"name":"large","entrypoint_path":"index.ts"}`)
		file, _ := form.CreateFormFile("file", "index.ts")
		io.CopyN(file, zeros{}, n)
		form.Close()
		writer.Close()
	}()
	request, err := http.NewRequest("POST", g.URL+"/v1/projects/"+sandbox.Payments+"/functions/deploy?slug=large", reader)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", form.FormDataContentType())
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusCreated {
		t.Fatalf("deploying %d bytes: %d %s", n, response.StatusCode, text)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// residentPeak is the most memory the gateway ever had resident.
func residentPeak(t *testing.T, g *harness.Gateway) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		if rest, found := bytes.CutPrefix(line, []byte("VmHWM:")); found {
			kb, err := strconv.ParseInt(strings.Fields(string(rest))[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

func TestASlowClientHoldsUpstreamBack(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	endless := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/body") {
				next.ServeHTTP(w, r)
				return
			}
			part := make([]byte, 32<<10)
			for {
				n, err := w.Write(part)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	g := harness.Start(t, harness.Options{Front: endless})
	connection, answer := open(t, g, "GET /v1/projects/"+sandbox.Payments+"/functions/large/body HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+g.Token("payments")+"\r\n\r\n")
	if _, err := http.ReadResponse(answer, nil); err != nil {
		t.Fatal(err)
	}
	// Nothing is read from here on. What upstream can send is bounded by the sockets' buffers.
	var before int64
	for settled := 0; settled < 5; settled++ {
		if now := sent.Load(); now != before {
			before, settled = now, 0
		}
		time.Sleep(50 * time.Millisecond) // only time shows that nothing moves any more
	}
	if before > 64<<20 {
		t.Errorf("upstream could send %d MiB to a client that reads nothing", before>>20)
	}
	connection.Close()
}

func TestABodyCutByUpstreamEndsTheClients(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	for name, path := range map[string]string{
		"streamed": "/v1/projects/" + sandbox.Payments + "/database/context",
		"cached":   "/v1/projects/" + sandbox.Payments + "/functions",
	} {
		t.Run(name, func(t *testing.T) {
			if err := g.Upstream.Faults().Add(sandbox.Fault{Kind: sandbox.FaultCut, Bytes: 1, Times: 1}); err != nil {
				t.Fatal(err)
			}
			request, _ := http.NewRequest("GET", g.URL+path, nil)
			request.Header.Set("Authorization", "Bearer "+token)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return // cut before the header came is as good
			}
			defer response.Body.Close()
			if _, err := io.ReadAll(response.Body); err == nil && response.StatusCode < 500 {
				t.Error("a part of the answer was passed on as the whole")
			}
			if a := g.Get(token, path); a.StatusCode != http.StatusOK {
				t.Errorf("afterwards: %d %s", a.StatusCode, a.Text)
			}
		})
	}
}

func TestAnUploadCutByTheClientEndsUpstreams(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	g := harness.Start(t, harness.Options{Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			ended <- err
		})
	}})
	connection, _ := open(t, g, "POST /v1/projects/"+sandbox.Payments+"/functions/deploy HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\nAuthorization: Bearer "+g.Token("payments")+"\r\n\r\n")
	connection.Write(make([]byte, 200_000))
	connection.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("upstream's body ended with %v, want it cut", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("upstream still waits for a body whose client has left")
	}
}

func TestExpectContinueAsksBeforeTheBodyIsSent(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	refused, answer := open(t, g, "POST /v1/projects/"+sandbox.FieldApp+"/secrets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20\r\nExpect: 100-continue\r\nAuthorization: Bearer "+g.Token("payments")+"\r\n\r\n")
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, "403") {
		t.Errorf("a refused upload begins with %q, %v; want 403 without 100", line, err)
	}
	refused.Close()

	allowed, answer := open(t, g, "POST /v1/projects/"+sandbox.Payments+"/secrets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 26\r\nExpect: 100-continue\r\nAuthorization: Bearer "+g.Token("payments")+"\r\n\r\n")
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("an allowed upload begins with %q, %v; want 100", line, err)
	}
	io.WriteString(allowed, `[{"name":"A","value":"bc"}]`[:26])
	answer.ReadString('\n')
	response, err := http.ReadResponse(answer, nil)
	if err != nil || response.StatusCode == http.StatusContinue {
		t.Errorf("after the body: %v, %v", response, err)
	}
}

func TestTrailersArePassedOn(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Front: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Checksum, X-Gotrue-Id")
			io.WriteString(w, "body")
			w.(http.Flusher).Flush()
			w.Header().Set("X-Checksum", "abc")
			w.Header().Set("X-Gotrue-Id", "shared-account")
		})
	}})
	a := g.Get(g.Token("payments"), "/v1/projects/"+sandbox.Payments+"/functions/x/body")
	if a.Text != "body" || a.Trailer.Get("X-Checksum") != "abc" || a.Trailer.Get("X-Gotrue-Id") != "" {
		t.Errorf("body %q, trailers %v", a.Text, a.Trailer)
	}
}

// open sends raw bytes to the gateway.
func open(t *testing.T, g *harness.Gateway, request string) (net.Conn, *bufio.Reader) {
	t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	connection.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(connection, request); err != nil {
		t.Fatal(err)
	}
	return connection, bufio.NewReader(connection)
}
