package proxy

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"corp.example/gateway/internal/secret"
)

const (
	planted = "sbp_aabbccddeeff00112233445566778899aabbccdd"
	before  = "sbp_ddccbbaa99887766554433221100ffeeddccbbaa" // what was sent before it
)

var plantedOnly = []secret.Text{secret.New(planted)}

func TestScrubBlotsOutTheSecretsBeforeToo(t *testing.T) {
	in := `{"old":"` + before + `","new":"` + planted + `"}`
	for how, reader := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader} {
		body := scrub(io.NopCloser(reader(strings.NewReader(in))), []secret.Text{secret.New(planted), secret.New(before)})
		got, err := io.ReadAll(body)
		if stars := strings.Repeat("*", len(planted)); err != nil || string(got) != `{"old":"`+stars+`","new":"`+stars+`"}` {
			t.Errorf("read %s: %q, %v", how, got, err)
		}
	}
}

func TestScrubBlotsOutTheSecretWhereverItIsCut(t *testing.T) {
	stars := strings.Repeat("*", len(planted))
	for name, test := range map[string]struct{ in, want string }{
		"nothing":                {"plain", "plain"},
		"empty":                  {"", ""},
		"alone":                  {planted, stars},
		"in the middle":          {`{"t":"` + planted + `"}`, `{"t":"` + stars + `"}`},
		"twice in a row":         {planted + planted, stars + stars},
		"a beginning at the end": {"x" + planted[:20], "x" + planted[:20]},
		"a false start":          {planted[:20] + planted, planted[:20] + stars},
		"across buffers":         {strings.Repeat("x", 32<<10-7) + planted + "y", strings.Repeat("x", 32<<10-7) + stars + "y"},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader, "with its end": iotest.DataErrReader,
		} {
			got, err := io.ReadAll(scrub(io.NopCloser(reader(strings.NewReader(test.in))), plantedOnly))
			if err != nil || string(got) != test.want {
				t.Errorf("%s, read %s: %.80q, %v; want %.80q", name, how, got, err, test.want)
			}
		}
	}
}

// A needle is found wherever bytes.Index finds it, whatever its rare byte is.
func FuzzNeedle(f *testing.F) {
	f.Add("xbxsbp_b", "sbp_")
	f.Add("aaab", "aab")
	f.Add("111", "11")
	f.Add("short", "longer")
	f.Fuzz(func(t *testing.T, data, text string) {
		if text == "" {
			return
		}
		n := newNeedle(text)
		if got, want := n.in([]byte(data)), strings.Index(data, text); got != want {
			t.Errorf("%q is in %q at %d, found at %d", text, data, want, got)
		}
		want := min(len(data), len(text)-1)
		for !strings.HasPrefix(text, data[len(data)-want:]) {
			want--
		}
		if got := n.begun([]byte(data)); got != want {
			t.Errorf("%d bytes of %q begin %q, found %d", want, data, text, got)
		}
	})
}

func TestScrubPassesTheBodysErrorOn(t *testing.T) {
	body := scrub(io.NopCloser(io.MultiReader(strings.NewReader("part"), iotest.ErrReader(io.ErrUnexpectedEOF))), plantedOnly)
	got, err := io.ReadAll(body)
	if string(got) != "part" || err != io.ErrUnexpectedEOF {
		t.Errorf("read %q, %v", got, err)
	}
	body.Close()
	if _, err := body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed body can be read")
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("a"+planted[:9], 3)
	f.Add(planted+planted[:3], 1)
	f.Fuzz(func(t *testing.T, text string, step int) {
		text = strings.ReplaceAll(text, "S", planted)
		body := scrub(io.NopCloser(&stepReader{strings.NewReader(text), max(step, 1)}), plantedOnly)
		got, err := io.ReadAll(body)
		if err != nil || len(got) != len(text) || bytes.Contains(got, []byte(planted)) {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	})
}

// stepReader reads at most step bytes at a time.
type stepReader struct {
	io.Reader
	step int
}

func (s *stepReader) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(len(p), s.step)]) }

func BenchmarkScrub(b *testing.B) {
	data := bytes.Repeat([]byte(`{"name":"sbp_project","id":1234567890},`), 1<<15)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		body := scrub(io.NopCloser(bytes.NewReader(data)), plantedOnly)
		_, _ = io.Copy(io.Discard, body)
		body.Close()
	}
}
