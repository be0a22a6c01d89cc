package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// A minted token is "sbp_" and 40 lower-case hex digits, the only form all Supabase clients accept. The digits are 17
// random bytes (136 bits, beyond guessing) and 3 bytes of checksum over them.
//
// The checksum has no key. It proves nothing: what proves a token is that its hash is on record. It only sorts out, before
// any look-up, what was mistyped, made up at random or minted by somebody else: one foreign token in 16 million passes,
// and is then unknown. A key would have to be shared with every replica and command and outlive every token, only to
// spare a look-up to somebody who took the trouble to compute checksums, whom the failure limit slows down anyway.
const (
	secretPrefix  = "sbp_"
	randomBytes   = 17
	checksumBytes = 3
	secretLen     = len(secretPrefix) + 2*(randomBytes+checksumBytes)
)

// checksumDomain keeps the checksum apart from every other use of the hash.
const checksumDomain = "gateway minted token v1\x00"

// idBytes is how much of a token's hash serves as its public id: enough that no two tokens ever share one, and of a
// hash of 136 random bits it gives nothing away.
const idBytes = 10

type (
	tokenHash [sha256.Size]byte
	tokenID   [idBytes]byte
)

// newSecret makes a token.
func newSecret() string {
	var raw [randomBytes + checksumBytes]byte
	_, _ = rand.Read(raw[:randomBytes]) // never fails: the program ends instead (crypto/rand)
	sum := checksum(raw[:randomBytes])
	copy(raw[randomBytes:], sum[:])
	return secretPrefix + hex.EncodeToString(raw[:])
}

func checksum(random []byte) (sum [checksumBytes]byte) {
	var text [len(checksumDomain) + randomBytes]byte
	copy(text[copy(text[:], checksumDomain):], random)
	full := sha256.Sum256(text[:])
	copy(sum[:], full[:])
	return sum
}

// looksMinted reports whether the credential is of the family of Supabase tokens (classic, "sbp_oauth_", "sbp_v0_") at
// all. What looks so and has no checksum of ours is foreign.
func looksMinted(token string) bool { return strings.HasPrefix(token, secretPrefix) }

// isMinted reports whether the token has the form and checksum of a token made here.
func isMinted(token string) bool {
	if len(token) != secretLen || !looksMinted(token) {
		return false
	}
	digits := token[len(secretPrefix):]
	for i := range len(digits) {
		// hex.Decode would take upper case too: two spellings of one token would be two credentials.
		if c := digits[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	var raw [randomBytes + checksumBytes]byte
	if _, err := hex.Decode(raw[:], []byte(digits)); err != nil {
		return false
	}
	sum := checksum(raw[:randomBytes])
	return subtle.ConstantTimeCompare(sum[:], raw[randomBytes:]) == 1
}

// hashOf is what is stored of a credential. A plain hash is enough: tokens and session cookies have more than 128 random
// bits, which no dictionary holds.
func hashOf(credential string) tokenHash {
	// A plain conversion would copy the credential to the heap on every request. Minted tokens fit into the small room on the
	// stack, most JWTs into the large one, which takes longer to clear than a minted token to hash.
	if len(credential) <= 64 {
		return sha256.Sum256(append(make([]byte, 0, 64), credential...))
	}
	return sha256.Sum256(append(make([]byte, 0, 2048), credential...))
}

// String makes keys of records.
func (h tokenHash) String() string { return hex.EncodeToString(h[:]) }

func (h tokenHash) id() tokenID { return tokenID(h[:idBytes]) }

func (id tokenID) String() string { return hex.EncodeToString(id[:]) }

func parseID(s string) (id tokenID, ok bool) {
	if len(s) != 2*idBytes {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil
}
