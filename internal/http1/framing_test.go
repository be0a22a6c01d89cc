package http1

import (
	"strconv"
	"strings"
	"testing"
)

// inTwoWays are requests that two readers of one connection can take apart differently.
var inTwoWays = map[string]string{
	"Content-Length and chunks":             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunks and Content-Length":             "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"Content-Length and chunks, lower case": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
	"Content-Length: 0 and chunks":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"Content-Length and a folded coding":    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
	"two different Content-Lengths":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"two equal Content-Lengths":             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"a list of Content-Lengths":             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello",
	"a signed Content-Length":               "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
	"a negative Content-Length":             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello",
	"a hexadecimal Content-Length":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello",
	"an empty Content-Length":               "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nhello",
	"a huge Content-Length":                 "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
	"two codings":                           "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
	"chunks in HTTP/1.0":                    "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
	"header lines that end in LF":           "GET / HTTP/1.1\nHost: x\n\n",
	"one header line that ends in LF":       "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\nContent-Length: 5\r\n\r\nhello",
	"an empty line of LF":                   "GET / HTTP/1.1\r\nHost: x\r\n\n",
	"a folded field":                        "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\tc: d\r\n\r\n",
}

// follow has the framing of one connection follow its bytes, which come in parts.
func follow(parts ...string) error {
	var f framing
	for _, part := range parts {
		if _, err := f.follow([]byte(part)); err != nil {
			return err
		}
	}
	return nil
}

func TestARequestThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	good := "POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
	for name, request := range inTwoWays {
		if follow(request) == nil {
			t.Errorf("%s: read without complaint", name)
		}
		if follow(good+request) == nil {
			t.Errorf("%s, behind another request: read without complaint", name)
		}
		if follow(strings.Split(request, "")...) == nil {
			t.Errorf("%s, byte by byte: read without complaint", name)
		}
	}
}

func TestHonestRequestsAreFollowed(t *testing.T) {
	smuggled := inTwoWays["Content-Length and chunks"]
	for name, stream := range map[string]string{
		"requests without bodies":             "GET / HTTP/1.1\r\nHost: x\r\n\r\nDELETE / HTTP/1.1\r\nHost: x\r\n\r\n",
		"bodies of known length":              "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabPUT / HTTP/1.1\r\nContent-Length:1 \r\n\r\nc",
		"an empty body":                       "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"a body that looks like a request":    "POST / HTTP/1.1\r\nContent-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled + "GET / HTTP/1.1\r\n\r\n",
		"chunks":                              "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n0\r\n\r\n",
		"fields that sound like the lengths":  "GET / HTTP/1.1\r\nContent-Lengths: x\r\nTe: trailers\r\nX-Transfer-Encoding: y\r\nContent-Type: text/plain\r\n\r\n",
		"an empty line before a request":      "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\na\r\nGET / HTTP/1.1\r\n\r\n",
		"HTTP/1.0":                            "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
		"a length that ends the request line": "GET /Content-Length:5 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		if err := follow(stream); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := follow(strings.Split(stream, "")...); err != nil {
			t.Errorf("%s, byte by byte: %v", name, err)
		}
	}
}

// FuzzFraming: how the bytes are cut into reads must not matter, or an attacker could choose the cut.
func FuzzFraming(f *testing.F) {
	for _, request := range inTwoWays {
		f.Add([]byte(request), 7)
	}
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		whole := follow(string(data))
		cut = max(0, min(cut, len(data)))
		if parts := follow(string(data[:cut]), string(data[cut:])); (whole == nil) != (parts == nil) {
			t.Errorf("read at once: %v; cut at %d: %v", whole, cut, parts)
		}
	})
}

// BenchmarkFraming is what following costs a request with the header of a browser's.
func BenchmarkFraming(b *testing.B) {
	request := []byte("GET /v1/projects/abcdefghijklmnopqrst/functions HTTP/1.1\r\nHost: supabase.corp.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
		"Accept: application/json\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nContent-Type: application/json\r\nX-Client-Info: supabase-js/2\r\n" +
		"Authorization: Bearer " + strings.Repeat("x", 1200) + "\r\nConnection: keep-alive\r\n\r\n")
	var f framing
	b.SetBytes(int64(len(request)))
	b.ReportAllocs()
	for b.Loop() {
		// A connection that waits for its next request reads one byte by itself.
		for _, part := range [][]byte{request[:1], request[1:]} {
			if _, err := f.follow(part); err != nil {
				b.Fatal(err)
			}
		}
	}
}
