package proxy

import (
	"bytes"
	"io"
	"strings"

	"corp.example/gateway/internal/secret"
)

// scrubber passes a body through and blots out secrets in it, should upstream ever echo the credential: the one that was
// sent, and those before it. The length stays, so that Content-Length holds.
type scrubber struct {
	body    io.ReadCloser
	secrets []needle
	buffer  []byte // buffer[:clean] may go out; what follows could be the beginning of a secret
	space   *[]byte
	clean   int
	err     error // what the body ended with
}

// scrub wraps body, which must be closed to return its buffer.
func scrub(body io.ReadCloser, secrets []secret.Text) io.ReadCloser {
	space := buffers.Get().(*[]byte)
	s := &scrubber{body: body, space: space, buffer: (*space)[:0], secrets: make([]needle, 0, len(secrets))}
	for _, text := range secrets {
		s.secrets = append(s.secrets, newNeedle(text.Reveal()))
	}
	return s
}

func (s *scrubber) Close() error {
	if s.space != nil {
		buffers.Put(s.space)
		s.space, s.buffer, s.clean, s.err = nil, nil, 0, io.ErrClosedPipe
	}
	return s.body.Close()
}

func (s *scrubber) Read(p []byte) (int, error) {
	for s.clean == 0 && s.err == nil {
		s.fill()
	}
	if s.clean == 0 {
		return 0, s.err
	}
	n := copy(p, s.buffer[:s.clean])
	s.buffer = s.buffer[n:]
	s.clean -= n
	return n, nil
}

// fill moves what was held back to the front and reads more behind it.
func (s *scrubber) fill() {
	held := copy(*s.space, s.buffer)
	n, err := s.body.Read((*s.space)[held:])
	s.buffer, s.err = (*s.space)[:held+n], err
	held = 0
	for _, secret := range s.secrets {
		secret.blot(s.buffer)
		if err == nil {
			held = max(held, secret.begun(s.buffer))
		}
	}
	s.clean = len(s.buffer) - held
}

// needle is a secret that is looked for by that byte of it which answers have few of: every answer is looked through, and
// bytes.Index takes four times as long, since it goes by the first byte.
type needle struct {
	text string
	rare int // where the byte is
}

// common are bytes that JSON is full of.
const common = `"_:,.-0123456789etaonisrdlcupmh`

func newNeedle(text string) needle {
	return needle{text, max(0, strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune(common, r) }))}
}

// in returns where data has the secret, -1 for nowhere.
func (n needle) in(data []byte) int {
	for at := n.rare; at < len(data); at++ {
		next := bytes.IndexByte(data[at:], n.text[n.rare])
		if next < 0 {
			return -1
		}
		at += next
		if start := at - n.rare; len(data)-start >= len(n.text) && string(data[start:start+len(n.text)]) == n.text {
			return start
		}
	}
	return -1
}

func (n needle) blot(data []byte) {
	for len(n.text) > 0 {
		at := n.in(data)
		if at < 0 {
			return
		}
		for i := range n.text {
			data[at+i] = '*'
		}
		data = data[at+len(n.text):]
	}
}

// begun returns how many of data's last bytes could be the beginning of the secret.
func (n needle) begun(data []byte) int {
	data = data[len(data)-min(len(data), max(0, len(n.text)-1)):]
	for len(data) > 0 {
		first := bytes.IndexByte(data, n.text[0])
		if first < 0 {
			return 0
		}
		if data = data[first:]; strings.HasPrefix(n.text, string(data)) {
			return len(data)
		}
		data = data[1:]
	}
	return 0
}
