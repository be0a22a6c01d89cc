package identity

import "strings"

// maxBearerBytes bounds a credential before anything looks into it. ID tokens with some hundred groups stay below half
// of it, and servers commonly refuse headers past this size anyway.
const maxBearerBytes = 16 << 10

// bearer returns the one credential in the Authorization header's values. It is strict where servers differ: two
// headers, a list in one header or odd spacing could be read differently by whatever stands in front.
func bearer(authorization []string) (string, *Refusal) {
	if len(authorization) == 0 {
		return "", &Refusal{Reason: Missing}
	}
	if len(authorization) > 1 {
		return "", &Refusal{Reason: Malformed, Err: errMalformed("more than one Authorization header")}
	}
	value := authorization[0]
	if len(value) > maxBearerBytes {
		return "", &Refusal{Reason: Malformed, Err: errMalformed("longer than 16 KiB")}
	}
	scheme, token, ok := strings.Cut(value, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", &Refusal{Reason: Malformed, Err: errMalformed("not the Bearer scheme")}
	}
	if !isB64Token(token) {
		return "", &Refusal{Reason: Malformed, Err: errMalformed("the token has characters that no token has")}
	}
	return token, nil
}

// isB64Token reports whether s is a b64token of RFC 6750 section 2.1.
func isB64Token(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" {
		return false
	}
	for i := range len(body) {
		switch c := body[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}

// errMalformed is a fixed text, so that nothing of the header gets into an error.
type errMalformed string

func (e errMalformed) Error() string { return string(e) }
