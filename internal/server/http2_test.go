package server_test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// The frames of HTTP/2 (RFC 9113) that these tests send and read.
const (
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	frameGoAway   = 7

	endHeadersAndStream = 0x4 | 0x1

	// The first byte of an answer's header block: these statuses have an entry of their own in HPACK's static table.
	status200 = 0x80 | 8
	status400 = 0x80 | 12
)

func TestAnHTTP2RequestThatSpeaksOfItsConnectionIsRefused(t *testing.T) {
	s := start(t, certificate(t))
	for name, field := range map[string][2]string{
		"Transfer-Encoding":         {"transfer-encoding", "chunked"},
		"Connection":                {"connection", "authorization"},
		"Upgrade":                   {"upgrade", "websocket"},
		"Keep-Alive":                {"keep-alive", "1"},
		"Proxy-Connection":          {"proxy-connection", "close"},
		"a name in upper case":      {"X-Upper", "1"},
		"a line break in a value":   {"x-a", "b\r\nTransfer-Encoding: chunked"},
		"a colon in a field's name": {"x:a", "b"},
		"a second path":             {":path", "/smuggled"},
	} {
		t.Run(name, func(t *testing.T) {
			if kind, first := s.overHTTP2(t, field); kind == frameHeaders && first != status400 {
				t.Errorf("answered with a header block beginning %#x, want 400 or the stream reset", first)
			}
		})
	}
	if seen := s.paths(); len(seen) > 0 {
		t.Errorf("handled %q, want nothing", seen)
	}
	if kind, first := s.overHTTP2(t, [2]string{"x-honest", "1"}); kind != frameHeaders || first != status200 {
		t.Errorf("an honest request was answered with frame %d beginning %#x, want 200", kind, first)
	}
}

// overHTTP2 sends a GET with one more field and returns the kind of the frame that answers it, with its first byte.
func (s *running) overHTTP2(t *testing.T, field [2]string) (kind, first byte) {
	t.Helper()
	conn := s.dial(t, "h2")
	writeRequest(conn, nil, field)
	for {
		kind, payload, err := readFrame(conn)
		if err != nil {
			return frameGoAway, 0 // the connection was ended
		}
		switch kind {
		case frameHeaders, frameReset, frameGoAway:
			return kind, payload[0]
		}
	}
}

// writeRequest begins a connection with its settings and sends a GET with one more field.
func writeRequest(conn net.Conn, settings []byte, field [2]string) {
	var block []byte
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "gateway.example"}, {":path", "/h2"}, field} {
		block = append(block, 0) // a literal field that is not indexed (RFC 7541 section 6.2.2); lengths below 127 are one byte
		block = append(append(block, byte(len(f[0]))), f[0]...)
		block = append(append(block, byte(len(f[1]))), f[1]...)
	}
	io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	writeFrame(conn, frameSettings, 0, 0, settings)
	writeFrame(conn, frameHeaders, endHeadersAndStream, 1, block)
}

func writeFrame(conn net.Conn, kind, flags byte, stream uint32, payload []byte) {
	header := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	header = binary.BigEndian.AppendUint32(append(header, flags), stream)
	conn.Write(append(header, payload...))
}

func readFrame(conn net.Conn) (kind byte, payload []byte, err error) {
	var header [9]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(header[:4])
	payload = make([]byte, length>>8)
	_, err = io.ReadFull(conn, payload)
	return byte(length), payload, err
}
