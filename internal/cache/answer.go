package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Answer is what upstream said: the header as it may be shown to clients, and the body without content coding.
type Answer struct {
	Status  int
	Header  http.Header // taken over: the caller does not change it any more
	Body    []byte      // taken over, too
	Cookies []string    // the Set-Cookie lines of upstream's that Header does not show: the answer was meant for one client, but for Config.IgnoreCookies

	// Rest is what follows Body where that is not the whole: an answer too large to store or share. It goes to one request.
	Rest io.ReadCloser
}

// Read takes upstream's answer in: whole where its body fits Config.MaxBody, else as far as it was read with the
// remainder in Rest. A body that breaks off is an error, so that a part is never taken for the whole. Read closes the
// body unless it hands it on in Rest.
func (c *Cache) Read(response *http.Response) (*Answer, error) {
	a := &Answer{Status: response.StatusCode, Header: response.Header}
	if response.ContentLength > int64(c.maxBody) {
		a.Rest = response.Body
		return a, nil
	}
	body, err := readUpTo(response.Body, response.ContentLength, c.maxBody)
	if err != nil {
		response.Body.Close() // the read error says more
		return nil, fmt.Errorf("reading upstream's body: %w", err)
	}
	a.Body = body
	if len(body) > c.maxBody {
		a.Rest = response.Body
		return a, nil
	}
	if err := response.Body.Close(); err != nil {
		return nil, fmt.Errorf("closing upstream's body: %w", err)
	}
	return a, nil
}

// readUpTo reads a body of the announced length, or one of unknown length (-1) until it ends or is over the limit.
func readUpTo(from io.Reader, length int64, limit int) ([]byte, error) {
	if length >= 0 {
		body := make([]byte, length)
		if _, err := io.ReadFull(from, body); err != nil {
			return nil, eofIsUnexpected(err)
		}
		return body, nil
	}
	var buffer bytes.Buffer
	if _, err := io.Copy(&buffer, io.LimitReader(from, int64(limit)+1)); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// eofIsUnexpected: a body that ends at once although a length was announced breaks off, too.
func eofIsUnexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
