package identity

import (
	"regexp"
	"strings"
)

// home is where a sign-in ends that was begun nowhere in particular.
const home = "/-/"

// maxReturnBytes leaves room for the rest of the sign-in in a cookie, which browsers take up to 4 KiB.
const maxReturnBytes = 1024

// returnPath is where a sign-in may end: a page of the portal, or the page that "supabase login" opens. Spelled out
// character by character, so that nothing a browser reads as another host ("//evil", "/\evil", "/%09/evil") fits. Of
// percent-encoding only the query may hold any.
var returnPath = regexp.MustCompile(`^/(?:-/[A-Za-z0-9._~/-]*|cli/login)(?:\?[A-Za-z0-9._~%=&+:@/-]*)?$`)

// safeReturn returns the path where it is one of ours, otherwise home.
func safeReturn(path string) string {
	if len(path) > maxReturnBytes || !returnPath.MatchString(path) {
		return home
	}
	if before, _, _ := strings.Cut(path, "?"); strings.Contains(before, "//") || strings.Contains(before, "/.") {
		return home
	}
	return path
}
