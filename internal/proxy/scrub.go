package proxy

import (
	"bytes"
	"io"
)

// scrubber passes a body through and blots out a secret in it, should upstream ever echo the credential. The length
// stays, so that Content-Length holds.
type scrubber struct {
	body   io.ReadCloser
	secret []byte
	buffer []byte // buffer[:clean] may go out; what follows could be the beginning of the secret
	space  *[]byte
	clean  int
	err    error // what the body ended with
}

// scrub wraps body, which must be closed to return its buffer.
func scrub(body io.ReadCloser, secret string) io.ReadCloser {
	space := buffers.Get().(*[]byte)
	return &scrubber{body: body, secret: []byte(secret), space: space, buffer: (*space)[:0]}
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
	blot(s.buffer, s.secret)
	s.clean = len(s.buffer)
	if err == nil {
		s.clean -= suspicious(s.buffer, s.secret)
	}
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
