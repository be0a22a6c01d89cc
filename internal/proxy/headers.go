package proxy

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/secret"
)

// forwarded are the request headers that go upstream, in canonical form; everything else stays here. A list of what may
// pass cannot be confused by spelling, doubling or naming headers in Connection.
//
// Accept-Encoding is not on it: answers are asked for unencoded, so that they can be narrowed, cached once for all
// clients, and searched for our own credential.
var forwarded = []string{
	"Accept",
	"Accept-Language",
	"Content-Encoding",
	"Content-Type",
	"Idempotency-Key",
	"If-Match",
	"If-Modified-Since",
	"If-None-Match",
	"If-Unmodified-Since",
	"User-Agent",
	"X-Client-Info",
}

// outgoingHeader builds upstream's request header from the client's.
func outgoingHeader(in http.Header, names []string) http.Header {
	out := make(http.Header, 8) // which is what clients send of them, and the largest map without a table
	for _, name := range names {
		if values := in[name]; len(values) > 0 {
			out[name] = values[:1:1] // each of them has one value; a second line is an attempt to be read in two ways
		}
	}
	if _, named := out["User-Agent"]; !named {
		out["User-Agent"] = noAgent
	}
	out["Accept-Encoding"] = unencoded
	return out
}

// What is the same in many requests is shared: nobody changes it.
var (
	noAgent   = []string{""} // or net/http would add its own
	unencoded = []string{"identity"}
)

// headerNames joins the built-in list with the operator's.
func headerNames(extra []string) []string {
	names := forwarded
	for _, name := range extra {
		names = append(names, textproto.CanonicalMIMEHeaderKey(name))
	}
	return names
}

// withheld are upstream's answer headers that clients do not get: what belongs to one connection (RFC 9110 section 7.6.1),
// what identifies the shared account, what the gateway says itself.
var withheld = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"X-Gotrue-Id": true, "Set-Cookie": true, "Www-Authenticate": true, "Authorization": true,
	"X-Request-Id": true, "Cache-Status": true, "Server-Timing": true,
	"X-Ratelimit-Limit": true, "X-Ratelimit-Remaining": true, "X-Ratelimit-Reset": true,
	"X-Content-Type-Options": true, "Content-Security-Policy": true, "Referrer-Policy": true, "Strict-Transport-Security": true,
	"Alt-Svc": true, "Server": true, "Via": true,
}

// copyAnswerHeader gives the client what it may see of upstream's answer header. A value that holds our credential is
// dropped whole: upstream echoed what it should not have.
func copyAnswerHeader(out, in http.Header, c *credential.Credential) {
	secrets := c.Secrets()
	for name, values := range in {
		if withheld[name] || disguised(name) || namedInConnection(in, name) || named(name, secrets) {
			continue
		}
		if len(values) == 1 && out[name] == nil && !holds(values[0], secrets) {
			out[name] = values // most are one value, and need no list of their own
			continue
		}
		for _, value := range values {
			if !holds(value, secrets) {
				out[name] = append(out[name], value)
			}
		}
	}
}

// first is h.Get for a name in canonical form, which Get would bring it into, letter by letter.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// disguised reports whether a name has a space in it, which net/http lets upstream's have: "Set-Cookie " is not withheld, but
// some clients take it for Set-Cookie (RFC 9112 section 5.1).
func disguised(name string) bool { return strings.Contains(name, " ") }

// holds reports whether a header's value holds one of the secrets.
func holds(value string, secrets []secret.Text) bool {
	return slices.ContainsFunc(secrets, func(s secret.Text) bool { return strings.Contains(value, s.Reveal()) })
}

// named reports whether a header's name, whose case net/http has changed, holds one of the secrets.
func named(name string, secrets []secret.Text) bool {
	return slices.ContainsFunc(secrets, func(s secret.Text) bool {
		return len(name) >= len(s.Reveal()) && strings.Contains(strings.ToLower(name), strings.ToLower(s.Reveal()))
	})
}

// namedInConnection reports whether the answer's Connection header claims the header for that one connection.
func namedInConnection(h http.Header, name string) bool {
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), name) {
				return true
			}
		}
	}
	return false
}

// localLocation keeps a redirect that points back at upstream inside the gateway. Others are passed on as they are: the
// client decides, and no credential goes with it.
func localLocation(h http.Header, upstreamURL, publicURL string) {
	location := first(h, "Location")
	if rest, found := strings.CutPrefix(location, upstreamURL); found && (rest == "" || rest[0] == '/' || rest[0] == '?') {
		h["Location"] = []string{publicURL + rest}
	}
}
