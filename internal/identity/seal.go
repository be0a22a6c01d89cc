package identity

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"corp.example/gateway/internal/state"
)

// signInKeyName is where the key that seals sign-in cookies is kept. It is made at first use and shared by all replicas.
// Whoever reads it can begin sign-ins in the gateway's name, but not finish one.
const signInKeyName = "signin"

// signInCipher returns the cipher for sign-in cookies.
func (s *Service) signInCipher(ctx context.Context) (cipher.AEAD, error) {
	key, err := s.store.Get(ctx, tableKeys, signInKeyName)
	if errors.Is(err, state.ErrNotFound) {
		fresh := make([]byte, 32)
		_, _ = rand.Read(fresh) // never fails
		// Of several that come first, one creates it and all read that.
		if err := s.store.Create(ctx, tableKeys, signInKeyName, fresh, time.Time{}); err != nil && !errors.Is(err, state.ErrExists) {
			return nil, err
		}
		key, err = s.store.Get(ctx, tableKeys, signInKeyName)
	}
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("sign-in key: %w", err)
	}
	return cipher.NewGCM(block)
}

// sealCookie encrypts a value for a cookie of the given name.
func sealCookie(c cipher.AEAD, name string, value any) (string, error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("sealing cookie %s: %w", name, err)
	}
	nonce := make([]byte, c.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64.RawURLEncoding.EncodeToString(c.Seal(nonce, nonce, plain, []byte(name))), nil
}

// unsealCookie is the reverse of sealCookie. It fails for everything sealCookie did not make under the same name.
func unsealCookie(c cipher.AEAD, name, sealed string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw) < c.NonceSize() {
		return errors.New("cookie is not sealed")
	}
	plain, err := c.Open(nil, raw[:c.NonceSize()], raw[c.NonceSize():], []byte(name))
	if err != nil {
		return errors.New("cookie was not sealed here")
	}
	return json.Unmarshal(plain, into)
}
