// Package seal encrypts what is kept outside the gateway's own memory: upstream's tokens, refresh tokens, cached bodies.
//
// Invariants: what was sealed for one purpose does not open for another, nor with a byte changed; two seals of the same
// text differ. Keys never leave the package. It does not say where sealed values are kept.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"corp.example/gateway/internal/secret"
)

// A sealed value is a version, the id of the key, then nonce, ciphertext and tag of AES-256-GCM (NIST SP 800-38D) with
// the purpose as additional data.
const (
	version    = 1
	idBytes    = 4
	keyBytes   = 32
	maxKeys    = 8 // a rotation needs two
	headerSize = 1 + idBytes
)

// ErrUnreadable says that a sealed value cannot be opened: it was sealed with a key that is gone, for another purpose, or
// changed since.
var ErrUnreadable = errors.New("the sealed value does not open: its key was removed from state.seal_key, or it was changed")

type key struct {
	id   [idBytes]byte
	aead cipher.AEAD
}

// Keys are the keys of one file, the newest first. Safe for concurrent use.
type Keys struct{ keys []key }

// Load reads keys from where they are kept: 64 hexadecimal digits a line ("openssl rand -hex 32" prints one). The first
// seals, all of them open: to rotate, put a new line before the old one and remove the old one when nothing sealed with
// it is left.
func Load(source secret.Source, getenv func(string) string) (*Keys, error) {
	text, err := source.Read(getenv)
	if err != nil {
		return nil, err
	}
	k := &Keys{}
	for i, line := range strings.Split(text.Reveal(), "\n") {
		raw, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil || len(raw) != keyBytes {
			return nil, fmt.Errorf("line %d of the seal key is not %d hexadecimal digits: make one with openssl rand -hex %d", i+1, 2*keyBytes, keyBytes)
		}
		if len(k.keys) == maxKeys {
			return nil, fmt.Errorf("the seal key has more than %d lines: remove the oldest", maxKeys)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, fmt.Errorf("seal key: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("seal key: %w", err)
		}
		sum := sha256.Sum256(raw)
		k.keys = append(k.keys, key{id: [idBytes]byte(sum[:idBytes]), aead: aead})
	}
	return k, nil
}

// Seal encrypts plain for a purpose.
func (k *Keys) Seal(purpose string, plain []byte) []byte {
	newest := &k.keys[0]
	out := make([]byte, 0, headerSize+len(plain)+newest.aead.Overhead())
	out = append(append(out, version), newest.id[:]...)
	return newest.aead.Seal(out, nil, plain, []byte(purpose))
}

// Open decrypts what was sealed for the same purpose, or returns ErrUnreadable.
func (k *Keys) Open(purpose string, sealed []byte) ([]byte, error) {
	if len(sealed) < headerSize || sealed[0] != version {
		return nil, ErrUnreadable
	}
	id := [idBytes]byte(sealed[1:headerSize])
	for i := range k.keys {
		if k.keys[i].id != id {
			continue
		}
		if plain, err := k.keys[i].aead.Open(nil, nil, sealed[headerSize:], []byte(purpose)); err == nil {
			return plain, nil
		}
	}
	return nil, ErrUnreadable
}

// Current reports whether sealed was sealed with the newest key: what was not is sealed again when it is next written.
func (k *Keys) Current(sealed []byte) bool {
	return len(sealed) >= headerSize && sealed[0] == version && [idBytes]byte(sealed[1:headerSize]) == k.keys[0].id
}
