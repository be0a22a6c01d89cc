package audit

import "strings"

// redact takes out of text from outside what looks like a token: clients paste them into paths and user agents, and an
// upstream may echo one. The beginning stays, so that a reader sees what kind it was.
func redact(s string) string {
	if len(s) < minToken || !strings.Contains(s, "sbp_") && !strings.Contains(s, "eyJ") {
		return s
	}
	var b strings.Builder
	for s != "" {
		at, kind := findToken(s)
		if at < 0 {
			break
		}
		b.WriteString(s[:at])
		b.WriteString(kind)
		b.WriteString(redacted)
		s = s[at+tokenLen(s[at:]):]
	}
	b.WriteString(s)
	return b.String()
}

// redacted stands for the rest of a token.
const redacted = "[redacted]"

// minToken is the length from which a run of token characters counts as a token: shorter ones are words such as a
// user agent "sbp_tool".
const minToken = 16

// findToken returns where the first token begins and its kind: upstream's and the gateway's own tokens begin with sbp_, a
// JWT with the base64 of {".
func findToken(s string) (int, string) {
	for i := range len(s) {
		for _, kind := range [...]string{"sbp_", "eyJ"} {
			if strings.HasPrefix(s[i:], kind) && tokenLen(s[i:]) >= minToken {
				return i, kind
			}
		}
	}
	return -1, ""
}

func tokenLen(s string) int {
	n := strings.IndexFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '.')
	})
	if n < 0 {
		return len(s)
	}
	return n
}
