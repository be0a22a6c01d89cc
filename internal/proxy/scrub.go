package proxy

import (
	"bytes"
	"io"

	"corp.example/gateway/internal/secret"
)

// scrubber passes a body through and blots out secrets in it, should upstream ever echo the credential: the one that was
// sent, and those before it. The length stays, so that Content-Length holds.
type scrubber struct {
	body    io.ReadCloser
	secrets [][]byte
	buffer  []byte // buffer[:clean] may go out; what follows could be the beginning of a secret
	space   *[]byte
	clean   int
	err     error // what the body ended with
}

// scrub wraps body, which must be closed to return its buffer.
func scrub(body io.ReadCloser, secrets []secret.Text) io.ReadCloser {
	space := buffers.Get().(*[]byte)
	s := &scrubber{body: body, space: space, buffer: (*space)[:0], secrets: make([][]byte, 0, len(secrets))}
	for _, text := range secrets {
		s.secrets = append(s.secrets, []byte(text.Reveal()))
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
		blot(s.buffer, secret)
		if err == nil {
			held = max(held, suspicious(s.buffer, secret))
		}
	}
	s.clean = len(s.buffer) - held
}

func blot(data, secret []byte) {
	for len(secret) > 0 {
		at := bytes.Index(data, secret)
		if at < 0 {
			return
		}
		for i := range secret {
			data[at+i] = '*'
		}
		data = data[at+len(secret):]
	}
}

// suspicious returns how many of data's last bytes could be the beginning of the secret.
func suspicious(data, secret []byte) int {
	for n := min(len(data), len(secret)-1); n > 0; n-- {
		if bytes.HasPrefix(secret, data[len(data)-n:]) {
			return n
		}
	}
	return 0
}
