package identity

import (
	"net/http"
	"strings"
	"time"
)

// cookies makes and reads the gateway's two cookies: the session, and the sign-in in progress.
type cookies struct{ session, signIn cookie }

type cookie struct {
	name   string
	secure bool
}

// newCookies chooses the names. With the prefix "__Host-" a browser takes the cookie only from this very host, over
// TLS, for all paths, so that no neighbouring host can plant one (RFC 6265bis section 4.1.3). Over plain HTTP, which is
// allowed on loopback only, browsers refuse the prefix, so the names go without.
func newCookies(publicURL string) cookies {
	prefix, secure := "__Host-", true
	if strings.HasPrefix(publicURL, "http://") {
		prefix, secure = "", false
	}
	return cookies{cookie{prefix + "gateway_session", secure}, cookie{prefix + "gateway_signin", secure}}
}

// set stores the cookie. Lax, since both must come along when the identity provider sends the browser back; what changes
// something in the portal is protected by its CSRF token.
func (c cookie) set(w http.ResponseWriter, value string, keep time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: c.name, Value: value, Path: "/", MaxAge: int(keep.Seconds()),
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func (c cookie) clear(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{
		Name: c.name, Path: "/", MaxAge: -1, Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// get returns the cookie's value, "" where there is none. Two of one name are as good as none: one was planted.
func (c cookie) get(r *http.Request) string {
	found := r.CookiesNamed(c.name)
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}
