package rig

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// Request is the bytes of a GET request with a bearer token and further header lines.
func Request(path, token string, lines ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: gateway.bench\r\nUser-Agent: bench\r\nAccept: application/json\r\nAuthorization: Bearer %s\r\n", path, token)
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// connection is a client that only knows as much HTTP/1.1 as answers to Request need: net/http would cost more than the
// servers that are measured.
type connection struct {
	net.Conn
	reader *bufio.Reader
}

func dial(address string) (*connection, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &connection{conn, bufio.NewReaderSize(conn, 16<<10)}, nil
}

var errNot200 = errors.New("the answer's status is not 200")

// answer reads one answer and drops it. It returns the size of the body.
func (c *connection) answer() (int64, error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || string(line[9:12]) != "200" {
		status := string(bytes.TrimSpace(line))
		rest, _ := c.reader.Peek(c.reader.Buffered()) // the reason is in the body, most of which came with it
		_, body, _ := bytes.Cut(rest, []byte("\r\n\r\n"))
		return 0, fmt.Errorf("%w: %s %s", errNot200, status, body)
	}
	length, err := c.header()
	if err != nil {
		return 0, err
	}
	if length >= 0 {
		_, err = c.reader.Discard(int(length))
		return length, err
	}
	return c.chunks()
}

// header reads to the end of the header and returns the body's length, -1 for one in chunks.
func (c *connection) header() (length int64, err error) {
	length = -1
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			return length, nil
		}
		const name = "content-length:"
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(line[len(name):])), 10, 64); err != nil {
				return 0, err
			}
		}
	}
}

func (c *connection) chunks() (total int64, err error) {
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return total, err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return total, err
		}
		if _, err := io.CopyN(io.Discard, c.reader, size+2); err != nil {
			return total, err
		}
		if size == 0 {
			return total, nil
		}
		total += size
	}
}
