package http1

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// plainRequests are served here.
var plainRequests = map[string]string{
	"the least":            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"a path and a query":   "GET /v1/projects/abc/functions?slug=x&y=%2F HTTP/1.1\r\nHost: gateway.corp.example:8443\r\n\r\n",
	"an escaped path":      "GET /a%20b/%7e HTTP/1.1\r\nHost: a\r\n\r\n",
	"a question mark":      "GET /a? HTTP/1.1\r\nHost: a\r\n\r\n",
	"two question marks":   "GET /a?? HTTP/1.1\r\nHost: a\r\n\r\n",
	"one in the query":     "GET /a?b?c=/d HTTP/1.1\r\nHost: a\r\n\r\n",
	"two slashes":          "GET //a/b HTTP/1.1\r\nHost: a\r\n\r\n",
	"dots":                 "GET /../a/./b HTTP/1.1\r\nHost: a\r\n\r\n",
	"odd signs":            "GET /a:b@c!$&'()*+,;=#d?e#f HTTP/1.1\r\nHost: a\r\n\r\n",
	"a field twice":        "GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\naccept: y\r\n\r\n",
	"with another between": "GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\nX-A: z\r\naccept: y\r\n\r\n",
	"an empty value":       "GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Blank: \t \r\n\r\n",
	"spaces around values": "GET / HTTP/1.1\r\nHost:\ta \r\nX-Wide: \t a b \t\r\n\r\n",
	"bytes over ASCII":     "GET / HTTP/1.1\r\nHost: a\r\nX-Name: Zo\xc3\xab \xff\r\n\r\n",
	"a kept connection":    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
	"a name with a _":      "GET / HTTP/1.1\r\nHost: a\r\nx_y-z: 1\r\n\r\n",
	"an address of IPv6":   "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
}

// otherRequests are for net/http to read, whatever it makes of them.
var otherRequests = map[string]string{
	"another method":             "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
	"a method in lower case":     "get / HTTP/1.1\r\nHost: a\r\n\r\n",
	"a method that begins alike": "GETS / HTTP/1.1\r\nHost: a\r\n\r\n",
	"HTTP/1.0":                   "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
	"HTTP/2":                     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"no version":                 "GET /\r\nHost: a\r\n\r\n",
	"a whole URL":                "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"an authority":               "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
	"an asterisk":                "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
	"two spaces":                 "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
	"a space in the target":      "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
	"a tab in the target":        "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
	"a byte over ASCII":          "GET /\xc3\xab HTTP/1.1\r\nHost: a\r\n\r\n",
	"a bad escape":               "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
	"no host":                    "GET / HTTP/1.1\r\nAccept: x\r\n\r\n",
	"no field at all":            "GET / HTTP/1.1\r\n\r\n",
	"an empty host":              "GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"an empty host and another":  "GET / HTTP/1.1\r\nHost:\r\nHost: a\r\n\r\n",
	"two hosts":                  "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
	"two hosts, one in capitals": "GET / HTTP/1.1\r\nHost: a\r\nHOST: b\r\n\r\n",
	"a host with a path":         "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
	"a host with a user":         "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
	"a length":                   "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"a body":                     "GET / HTTP/1.1\r\nHost: a\r\ncontent-length: 4\r\n\r\nbody",
	"chunks":                     "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"a trailer":                  "GET / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\n\r\n",
	"an expectation":             "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
	"an upgrade":                 "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
	"another connection":         "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"a list of options":          "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Field\r\n\r\n",
	"a pragma":                   "GET / HTTP/1.1\r\nHost: a\r\nPragma: no-cache\r\n\r\n",
	"a space before the colon":   "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nbody",
	"a space before the name":    "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
	"a folded field":             "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\tc\r\n\r\n",
	"a field without a colon":    "GET / HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n",
	"a field without a name":     "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
	"an odd name":                "GET / HTTP/1.1\r\nHost: a\r\nX'A: b\r\n\r\n",
	"a bare LF in a value":       "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\nContent-Length: 4\r\n\r\nbody",
	"a bare CR in a value":       "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n",
	"a bare LF in the first":     "GET / HTTP/1.1\nHost: a\r\n\r\n",
	"a NUL in a value":           "GET / HTTP/1.1\r\nHost: a\r\nX-A: \x00\r\n\r\n",
	"a DEL in a value":           "GET / HTTP/1.1\r\nHost: a\r\nX-A: \x7f\r\n\r\n",
	"an empty line before it":    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"too many fields":            "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-A: b\r\n", mostFields) + "\r\n",
}

func TestPlainRequestsAreServedHere(t *testing.T) {
	for name, text := range plainRequests {
		if _, size, is := new(fields).first([]byte(text + "GET /next")); is != plain || size != len(text) {
			t.Errorf("%s: %v, %d bytes; want plain, %d", name, is, size, len(text))
		}
		sameAsNetHTTP(t, []byte(text))
	}
}

func TestOtherRequestsAreNot(t *testing.T) {
	for name, text := range otherRequests {
		if _, _, is := new(fields).first([]byte(text)); is != notPlain {
			t.Errorf("%s: %v, want not plain", name, is)
		}
	}
}

// Who sends a part is waited for; net/http waits for what can no longer be plain.
func TestAPartOfAPlainRequestIsUnfinished(t *testing.T) {
	text := plainRequests["a path and a query"]
	for n := range len(text) {
		if _, _, is := new(fields).first([]byte(text[:n])); is != unfinished {
			t.Errorf("%q: %v, want unfinished", text[:n], is)
		}
	}
	for _, text := range []string{"P", "GET *", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: a\n"} {
		if _, _, is := new(fields).first([]byte(text)); is != notPlain {
			t.Errorf("%q: %v, want not plain", text, is)
		}
	}
}

// One connection's requests have mostly the same fields. What was parsed for one serves the next only where they are the same
// to the byte.
func TestTheFieldsOfOneRequestAreNotAnothers(t *testing.T) {
	var f fields
	buffer := make([]byte, headerBytes) // one connection's requests come into the same memory, too
	for _, want := range []string{"one", "one", "two", "on", "one"} {
		n := copy(buffer, "GET /"+want+" HTTP/1.1\r\nHost: a\r\nX-Field: "+want+"\r\n\r\n")
		r, _, is := f.first(buffer[:n])
		if is != plain || r.Header.Get("X-Field") != want || r.RequestURI != "/"+want {
			t.Errorf("request %q was read as %v %v", want, is, r)
		}
	}
	if _, _, is := f.first([]byte("GET / HTTP/1.1\r\nX-Field: one\r\n\r\n")); is != notPlain {
		t.Errorf("a request without a host has the last one's")
	}
	if r, _, is := f.first([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); is != plain || len(r.Header) > 0 {
		t.Errorf("a request without fields was read as %v %v", is, r)
	}
}

// FuzzPlain: net/http takes every plain request for the same, and for as many bytes.
func FuzzPlain(f *testing.F) {
	for _, requests := range []map[string]string{plainRequests, otherRequests} {
		for _, text := range requests {
			f.Add([]byte(text))
			f.Add([]byte(text + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { sameAsNetHTTP(t, data) })
}

// sameAsNetHTTP compares what data is read as, where it is plain.
func sameAsNetHTTP(t *testing.T, data []byte) {
	t.Helper()
	got, size, is := new(fields).first(data)
	if is != plain {
		return
	}
	if err := new(framing).followAll(data[:size]); err != nil {
		t.Errorf("%q is plain, but can be read in two ways: %v", data, err)
	}
	from := bufio.NewReader(bytes.NewReader(data))
	want, err := http.ReadRequest(from)
	if err != nil {
		t.Fatalf("%q is plain, but net/http refuses it: %v", data, err)
	}
	if rest, _ := io.ReadAll(from); len(rest) != len(data)-size {
		t.Errorf("%q has %d bytes, net/http reads %d", data, size, len(data)-len(rest))
	}
	// What net/http's server does beside ReadRequest.
	delete(want.Header, "Host")
	want.Body = http.NoBody
	if want.Close || want.ContentLength != 0 || want.TransferEncoding != nil || want.Trailer != nil {
		t.Errorf("%q is plain, but net/http sees more than its header: %+v", data, want)
	}
	if len(got.Header) == 0 && len(want.Header) == 0 {
		got.Header = want.Header
	}
	read := (&http.Request{Method: want.Method, RequestURI: want.RequestURI, URL: want.URL, Host: want.Host, Header: want.Header,
		Proto: want.Proto, ProtoMajor: want.ProtoMajor, ProtoMinor: want.ProtoMinor, Body: want.Body}).WithContext(context.Background())
	if !reflect.DeepEqual(got, read) {
		t.Errorf("%q is read as\n%+v, %+v\nby net/http as\n%+v, %+v", data, got, got.URL, read, read.URL)
	}
}

// first is the first request in data.
func (f *fields) first(data []byte) (r *http.Request, size int, is reading) {
	target, place, size, is := f.next(data)
	if is == plain {
		r = f.request(context.Background(), target, place)
	}
	return r, size, is
}

// followAll is follow for a whole request.
func (f *framing) followAll(data []byte) error {
	_, err := f.follow(data)
	return err
}

// BenchmarkNext is what a request costs that comes over a kept connection, the same fields again and other ones.
func BenchmarkNext(b *testing.B) {
	request := func(token string) []byte {
		return []byte("GET /v1/projects/abcdefghijklmnopqrst/functions HTTP/1.1\r\nHost: supabase.corp.example\r\nUser-Agent: supabase-cli/3.1\r\n" +
			"Accept: application/json\r\nAccept-Encoding: gzip\r\nAuthorization: Bearer " + token + "\r\n\r\n")
	}
	one, two := request(strings.Repeat("x", 1200)), request(strings.Repeat("y", 1200))
	for name, requests := range map[string][2][]byte{"same": {one, one}, "other": {one, two}} {
		b.Run(name, func(b *testing.B) {
			var f fields
			b.ReportAllocs()
			for b.Loop() {
				for _, text := range requests {
					if _, _, is := f.first(text); is != plain {
						b.Fatal(is)
					}
				}
			}
		})
	}
}
