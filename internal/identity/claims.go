package identity

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"
	"unicode"
)

// maxSubjectBytes bounds a subject: OpenID Connect Core section 2 allows 255 characters, workload platforms use more.
const maxSubjectBytes = 512

// caller makes a caller of verified claims.
func (i *issuer) caller(subject string, claims claimSet) (*Caller, *Refusal) {
	if subject == "" || len(subject) > maxSubjectBytes || strings.ContainsFunc(subject, unicode.IsControl) {
		return nil, &Refusal{Reason: BadClaims, Issuer: i.Name, Err: errors.New("sub is missing, too long or not printable")}
	}
	if i.groupsLeftOut(claims) {
		return nil, &Refusal{Reason: GroupsOverage, Issuer: i.Name}
	}
	kind := Workload
	if i.Client != nil {
		kind = Person
	}
	return &Caller{
		Kind:    kind,
		Issuer:  i.Name,
		Subject: subject,
		Email:   claims.verifiedEmail(i.Claims.Email),
		Name:    claims.text("name"),
		Groups:  claims.groups(i.Claims.Groups),
		Claims:  claims,
	}, nil
}

// groupsLeftOut reports whether the issuer left the groups out because there were too many: a reference to fetch them by
// instead (distributed claims, OpenID Connect Core section 5.6.2), or Entra's mark in tokens that have no room for that.
// Carrying on with no groups would be safe but puzzling, so it is refused with the reason.
func (i *issuer) groupsLeftOut(claims claimSet) bool {
	if _, present := claims[i.Claims.Groups]; present {
		return false
	}
	names, _ := claims["_claim_names"].(map[string]any)
	_, referred := names[i.Claims.Groups]
	return referred || claims.isTrue("hasgroups")
}

// text returns a string claim, without control characters since it is only for people to read.
func (c claimSet) text(name string) string {
	s, _ := c[name].(string)
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}

// isTrue takes the string "true" for true, as some issuers send it.
func (c claimSet) isTrue(name string) bool { return c[name] == true || c[name] == "true" }

// time reads a NumericDate. A missing one is the zero time, one that is no number is not ok.
func (c claimSet) time(name string) (t time.Time, ok bool) {
	value, present := c[name]
	if !present || value == nil {
		return time.Time{}, true
	}
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := number.Float64()
	// Beyond this a float cannot tell seconds apart, and times before 1970 have no meaning here.
	if err != nil || seconds < 0 || seconds > 1<<53 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// verifiedEmail returns the address only where the issuer vouches for it, and only where it can be read in one way: a
// second "@" makes mail servers and policies disagree on the domain.
func (c claimSet) verifiedEmail(name string) string {
	if !c.isTrue("email_verified") {
		return ""
	}
	email, _ := c[name].(string)
	local, domain, _ := strings.Cut(email, "@")
	if local == "" || domain == "" || strings.Contains(domain, "@") || len(email) > 254 {
		return ""
	}
	if strings.ContainsFunc(email, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`"(),:;<>\`, r) }) {
		return ""
	}
	return email
}

// groups returns the group names. Empty ones and what is no string name nothing.
func (c claimSet) groups(name string) []string {
	var groups []string
	add := func(value any) {
		if s, ok := value.(string); ok && strings.TrimSpace(s) != "" {
			groups = append(groups, s)
		}
	}
	switch value := c[name].(type) {
	case []any:
		for _, element := range value {
			add(element)
		}
	case string: // issuers that send a list of one as its element
		add(value)
	}
	return groups
}

// durable returns the claims that say who somebody is, without those that belong to the one token they came in.
func (c claimSet) durable() claimSet {
	d := maps.Clone(c)
	for _, name := range []string{"exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash", "s_hash", "sid", "auth_time"} {
		delete(d, name)
	}
	return d
}
