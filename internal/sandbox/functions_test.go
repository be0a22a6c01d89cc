package sandbox_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
)

const greet = payments + "/functions/greet"

// deployed uploads source files as clients do, by multipart, and gives the answer.
func deployed(t *testing.T, s *sandbox.Sandbox, query string, files ...[2]string) map[string]any {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("metadata", `{"entrypoint_path":"greet/index.ts","import_map_path":"greet/deno.json","verify_jwt":false}`)
	for _, f := range files {
		part, err := form.CreateFormFile("file", f[0])
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(part, f[1])
	}
	form.Close()
	r := httptest.NewRequest("POST", payments+"/functions/deploy?slug=greet"+query, &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	w := send(t, s, r)
	if w.Code != http.StatusCreated {
		t.Fatalf("deploy: %d %s", w.Code, w.Body)
	}
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// downloaded gets a function's body as a client asks for it.
func downloaded(t *testing.T, s *sandbox.Sandbox, target, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", target+"/body", nil)
	r.Header.Set("Accept", accept)
	w := send(t, s, r)
	if w.Code != http.StatusOK {
		t.Fatalf("download: %d %s", w.Code, w.Body)
	}
	return w
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestDeployedFilesComeBackAsMultipart(t *testing.T) {
	s := newSandbox(t)
	answer := deployed(t, s, "", [2]string{"greet/index.ts", "Deno.serve()"}, [2]string{"greet/deno.json", "{}"})
	if answer["version"] != 1.0 || answer["verify_jwt"] != false || answer["ezbr_sha256"] != sha([]byte("Deno.serve(){}")) {
		t.Errorf("answer %v", answer)
	}
	if path, _ := answer["entrypoint_path"].(string); !strings.HasPrefix(path, "file:///tmp/user_fn_"+sandbox.Payments) || !strings.HasSuffix(path, "/source/greet/index.ts") {
		t.Errorf("entrypoint %q", path)
	}

	w := downloaded(t, s, greet, "multipart/form-data")
	mediaType, params, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" {
		t.Fatalf("content type %q: %v", mediaType, err)
	}
	got := make(map[string]string)
	for parts := multipart.NewReader(w.Body, params["boundary"]); ; {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(part)
		got[part.FormName()+" "+part.FileName()] = string(content)
	}
	if got["file index.ts"] != "Deno.serve()" || got["file deno.json"] != "{}" || !strings.Contains(got["metadata "], "source/greet/index.ts") {
		t.Errorf("parts %q", got)
	}
}

func TestDeployAgainRaisesTheVersion(t *testing.T) {
	s := newSandbox(t)
	first := deployed(t, s, "", [2]string{"greet/index.ts", "one"})
	second := deployed(t, s, "", [2]string{"greet/index.ts", "two"})
	if second["version"] != 2.0 || second["id"] != first["id"] {
		t.Errorf("second %v after %v", second, first)
	}
}

func TestBundleOnlyDeploysNothing(t *testing.T) {
	s := newSandbox(t)
	deployed(t, s, "&bundleOnly=true", [2]string{"greet/index.ts", "one"})
	if w := send(t, s, httptest.NewRequest("GET", greet, nil)); w.Code != http.StatusNotFound {
		t.Errorf("the function is there: %d %s", w.Code, w.Body)
	}
}

func TestEszip(t *testing.T) {
	const bound = 1 << 10
	small, large := bytes.Repeat([]byte("EZBR"), bound/4), bytes.Repeat([]byte("EZBR"), bound)
	for name, upload := range map[string][]byte{"kept": small, "too large to keep": large} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t, func(c *sandbox.Config) { c.KeptBody = bound })
			r := httptest.NewRequest("POST", payments+"/functions?slug=greet&entrypoint_path=file:///src/index.ts", bytes.NewReader(upload))
			r.Header.Set("Content-Type", "application/vnd.denoland.eszip")
			w := send(t, s, r)
			if w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), sha(upload)) {
				t.Fatalf("upload: %d %s", w.Code, w.Body)
			}

			w = downloaded(t, s, greet, "application/vnd.denoland.eszip")
			want := upload
			if len(upload) > bound {
				want, _ = io.ReadAll(sandbox.Generated(int64(len(upload))))
			}
			if !bytes.Equal(w.Body.Bytes(), want) {
				t.Errorf("got %d bytes, %s; want %d, %s", w.Body.Len(), sha(w.Body.Bytes()), len(want), sha(want))
			}
			if got := w.Header().Get("Content-Type"); got != "application/vnd.denoland.eszip" {
				t.Errorf("content type %q", got)
			}
		})
	}
}

func TestUploadToAnUnknownProjectIsNotRead(t *testing.T) {
	s := newSandbox(t)
	body := strings.NewReader("never read")
	for _, target := range []string{"/functions?slug=x", "/functions/deploy?slug=x"} {
		w := send(t, s, httptest.NewRequest("POST", "/v1/projects/zzzzzzzzzzzzzzzzzzzz"+target, io.NopCloser(body)))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestBrokenUploadsAreRefused(t *testing.T) {
	s := newSandbox(t)
	for name, r := range map[string]*http.Request{
		"no multipart":  httptest.NewRequest("POST", payments+"/functions/deploy?slug=x", strings.NewReader("{}")),
		"no slug":       httptest.NewRequest("POST", payments+"/functions", strings.NewReader("ESZIP")),
		"cut multipart": httptest.NewRequest("POST", payments+"/functions/deploy?slug=x", strings.NewReader(deployForm[:60])),
	} {
		if name == "cut multipart" {
			r.Header.Set("Content-Type", multipartForm)
		}
		if w := send(t, s, r); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// zeros is a body of so many zero bytes.
func zeros(size int64) io.Reader { return io.LimitReader(zeroReader{}, size) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// discard is an answer whose body is counted and thrown away.
type discard struct {
	header http.Header
	status int
	size   int64
}

func (d *discard) Header() http.Header    { return d.header }
func (d *discard) WriteHeader(status int) { d.status = status }
func (d *discard) Write(p []byte) (int, error) {
	d.size += int64(len(p))
	return len(p), nil
}

func TestLargeBundlesPassThroughALittleMemory(t *testing.T) {
	const size, most = 32 << 20, 24 << 20 // bytes; what is kept doubles its buffer until it is over the bound of 4 MiB
	s := newSandbox(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := httptest.NewRequest("POST", payments+"/functions?slug=greet", zeros(size))
	if w := send(t, s, r); w.Code != http.StatusCreated {
		t.Fatalf("upload: %d %s", w.Code, w.Body)
	}
	got := &discard{header: make(http.Header)}
	r = httptest.NewRequest("GET", greet+"/body", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	s.ServeHTTP(got, r)
	runtime.ReadMemStats(&after)
	if got.size != size || got.header.Get("Content-Length") != strconv.Itoa(size) {
		t.Errorf("downloaded %d bytes, announced %s", got.size, got.header.Get("Content-Length"))
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > most {
		t.Errorf("%d bytes were allocated, want at most %d", used, most)
	}
}
