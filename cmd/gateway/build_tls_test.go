package main

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"corp.example/gateway/internal/config"
)

func TestARedirectToTheEncryptedAddressLeadsNowhereElse(t *testing.T) {
	g := &gateway{config: &config.Loaded{File: config.File{Server: config.Server{PublicURL: "https://gateway.example"}}}}
	for target, want := range map[string]string{
		"/-/tokens?a=b":           "https://gateway.example/-/tokens?a=b",
		"//evil.example/":         "https://gateway.example//evil.example/",
		"/@evil.example":          "https://gateway.example/@evil.example",
		"http://evil.example/x":   "https://gateway.example/x",
		"http://evil.example":     "https://gateway.example/",
		"http:@evil.example/x":    "https://gateway.example/",
		"http:.evil.example/x":    "https://gateway.example/",
		"https:8443@evil.example": "https://gateway.example/",
	} {
		request, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: evil.example\r\n\r\n")))
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		answer := httptest.NewRecorder()
		g.toPublicURL(answer, request)
		if got := answer.Header().Get("Location"); answer.Code != http.StatusPermanentRedirect || got != want {
			t.Errorf("%s: %d to %s, want %s", target, answer.Code, got, want)
		}
	}
}
