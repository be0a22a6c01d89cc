package credential_test

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/credential"
)

func TestWhatAnAdministratorBeginsOnOneReplicaEndsOnAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		one, two := s.replica(t), s.replica(t)
		watched(t, two)
		address, err := one.Connect(t.Context(), "app", redirectURI, "corp|grace")
		if err != nil {
			t.Fatal(err)
		}
		for key, held := range s.values {
			if bytes.Contains(held.data, []byte("verifier")) {
				t.Errorf("%s holds the verifier in the clear", key)
			}
		}
		answer := s.agree(t, address)
		if name, err := two.Connected(t.Context(), "corp|grace", answer); name != "app" || err != nil {
			t.Fatalf("finished %q, %v", name, err)
		}
		synctest.Wait()
		if !s.works(sends(t, two.All()[0])) {
			t.Error("the tokens do not work")
		}
		if _, err := one.Connected(t.Context(), "corp|grace", answer); !errors.Is(err, credential.ErrNoConsent) {
			t.Errorf("the same answer again: %v", err)
		}
	})
}

func TestNobodyFinishesWhatSomebodyElseBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, time.Hour)
		set := s.replica(t)
		begin := func() url.Values {
			t.Helper()
			address, err := set.Connect(t.Context(), "app", redirectURI, "corp|grace")
			if err != nil {
				t.Fatal(err)
			}
			return s.agree(t, address)
		}
		if _, err := set.Connected(t.Context(), "corp|mallory", begin()); !errors.Is(err, credential.ErrNoConsent) {
			t.Errorf("another person: %v", err)
		}
		forged := begin()
		forged.Set("state", "guessed")
		if _, err := set.Connected(t.Context(), "corp|grace", forged); !errors.Is(err, credential.ErrNoConsent) {
			t.Errorf("another state: %v", err)
		}
		late := begin()
		time.Sleep(15*time.Minute + time.Second)
		if _, err := set.Connected(t.Context(), "corp|grace", late); !errors.Is(err, credential.ErrNoConsent) {
			t.Errorf("after its time: %v", err)
		}
		if _, err := set.Connect(t.Context(), "other", redirectURI, "corp|grace"); err == nil || !strings.Contains(err.Error(), "other") {
			t.Errorf("a credential that is none: %v", err)
		}
	})
}
