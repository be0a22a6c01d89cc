package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// loadKey reads the signing key, or makes the default one at the first start. A log of streams alone, without a key
// file, has no key and no checkpoints.
func loadKey(c Config) (ed25519.PrivateKey, error) {
	path := c.KeyFile
	if path == "" {
		for _, s := range c.Sinks {
			if s.File != nil {
				path = filepath.Join(s.File.Dir, c.Name+".key")
				break
			}
		}
	}
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.KeyFile == "":
		return makeKey(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("audit: signing key %s does not exist: make it with openssl genpkey -algorithm ed25519 -out %[1]s", path)
	case err != nil:
		return nil, fmt.Errorf("audit: reading signing key: %w", err)
	}
	key, err := parsePrivate(data)
	if err != nil {
		return nil, fmt.Errorf("audit: signing key %s: %w", path, err)
	}
	return key, nil
}

func parsePrivate(data []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("not a PEM file with a PRIVATE KEY")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not a PKCS #8 key") // the cause could quote the key
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a %T, want an Ed25519 key", parsed)
	}
	return key, nil
}

func makeKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("audit: making a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("audit: making a signing key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("audit: making the log's directory: %w", err)
	}
	if err := writeWhole(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return nil, fmt.Errorf("audit: storing a new signing key: %w", err)
	}
	return key, nil
}

// keyID names a public key in checkpoints: the first 8 bytes of its SHA-256, in hex. It is a label, not a proof.
func keyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// publishKey adds the public key to the chain's .pub file, where verify finds it. Earlier keys stay: they signed what
// was written in their time. It reports whether the file held other keys alone.
func publishKey(path string, key ed25519.PublicKey) (changed bool, err error) {
	known, err := ReadKeys(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	for _, k := range known {
		if k.Equal(key) {
			return false, nil
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return false, fmt.Errorf("audit: encoding the public key: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("audit: publishing the public key: %w", err)
	}
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	if err := writeWhole(path, data, 0o644); err != nil {
		return false, fmt.Errorf("audit: publishing the public key: %w", err)
	}
	return len(known) > 0, nil
}

// writeWhole replaces a file so that, whenever the process is killed, there is the old content or the new and never a part.
func writeWhole(path string, data []byte, mode fs.FileMode) (err error) {
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part.Name()) // the first error is the one that matters
		}
	}()
	_, err = part.Write(data)
	if err := errors.Join(err, part.Chmod(mode), part.Sync(), part.Close()); err != nil {
		return err
	}
	return os.Rename(part.Name(), path)
}

// ReadKeys reads the keys that checkpoints are verified with: a PEM file of Ed25519 public keys, or the private key.
func ReadKeys(path string) ([]ed25519.PublicKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	if key, err := parsePrivate(data); err == nil {
		return []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, nil
	}
	var keys []ed25519.PublicKey
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("reading keys: %s: block %d is not an Ed25519 public key", path, len(keys)+1)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("reading keys: %s holds no PEM key", path)
	}
	return keys, nil
}
