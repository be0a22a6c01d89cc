package seal_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/secret"
)

var (
	older = strings.Repeat("0a", 32)
	newer = strings.Repeat("0b", 32)
)

func load(t *testing.T, lines ...string) *seal.Keys {
	t.Helper()
	keys, err := seal.Load(secret.Source{Env: "KEY"}, func(string) string { return strings.Join(lines, "\n") })
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestWhatWasSealedOpensForItsPurposeAlone(t *testing.T) {
	keys := load(t, newer)
	sealed := keys.Seal("oauth shared", []byte("refresh-token"))
	if bytes.Contains(sealed, []byte("refresh")) {
		t.Error("the text stands in its seal")
	}
	if plain, err := keys.Open("oauth shared", sealed); err != nil || string(plain) != "refresh-token" {
		t.Errorf("opened %q, %v", plain, err)
	}
	if _, err := keys.Open("oauth other", sealed); !errors.Is(err, seal.ErrUnreadable) {
		t.Errorf("opened for another purpose: %v", err)
	}
	if bytes.Equal(sealed, keys.Seal("oauth shared", []byte("refresh-token"))) {
		t.Error("two seals of one text are the same")
	}
}

func TestAChangedSealDoesNotOpen(t *testing.T) {
	keys := load(t, newer)
	sealed := keys.Seal("p", []byte("text"))
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := keys.Open("p", changed); !errors.Is(err, seal.ErrUnreadable) {
			t.Fatalf("opened with byte %d changed: %v", i, err)
		}
		if _, err := keys.Open("p", sealed[:i]); !errors.Is(err, seal.ErrUnreadable) {
			t.Fatalf("opened when cut at %d: %v", i, err)
		}
	}
}

func TestRotationOpensWhatTheOlderKeySealed(t *testing.T) {
	before, during, after := load(t, older), load(t, newer, older), load(t, newer)
	sealed := before.Seal("p", []byte("text"))
	if plain, err := during.Open("p", sealed); err != nil || string(plain) != "text" {
		t.Errorf("during the rotation: %q, %v", plain, err)
	}
	if during.Current(sealed) || !before.Current(sealed) {
		t.Error("what the older key sealed is current only before the rotation")
	}
	if again := during.Seal("p", []byte("text")); !during.Current(again) {
		t.Error("the rotation does not seal with the first key")
	} else if _, err := after.Open("p", again); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	if _, err := after.Open("p", sealed); !errors.Is(err, seal.ErrUnreadable) {
		t.Errorf("the older key's seal opened without it: %v", err)
	}
}

func TestAKeyThatIsNoneIsRefusedByItsLine(t *testing.T) {
	for _, lines := range [][]string{{"short"}, {newer, "zz" + newer[2:]}, {newer, "", older}} {
		_, err := seal.Load(secret.Source{Env: "KEY"}, func(string) string { return strings.Join(lines, "\n") })
		if err == nil || !strings.Contains(err.Error(), "openssl rand -hex 32") || strings.Contains(err.Error(), newer) {
			t.Errorf("%d lines: %v", len(lines), err)
		}
	}
}
