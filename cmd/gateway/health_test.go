package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealthTellsWhatTheAdminListenerSays(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // must not be asked: the listener is a neighbour
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			http.Error(w, `{"redis":"away"}`, http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path != "/healthz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	}))
	defer admin.Close()
	for _, test := range []struct{ url, out, err string }{
		{admin.URL + "/healthz", "ok\n", ""},
		{admin.URL + "/readyz", "", `503 Service Unavailable: {"redis":"away"}`},
		{"http://127.0.0.1:1/healthz", "", "does not answer"},
		{admin.URL, "", "/readyz and /healthz are on the address of admin.listen"},
		{"::", "", "--url"},
		{"127.0.0.1:9090", "", `--url "127.0.0.1:9090": write it as http://127.0.0.1:9090/readyz`},
		{"localhost", "", `--url "localhost": write it as`},
	} {
		var out strings.Builder
		err := run(t.Context(), []string{"health", "--url", test.url}, func(string) string { return "" }, &out, &out)
		if out.String() != test.out || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("health --url %s: %q, %v; want %q, %q", test.url, out.String(), err, test.out, test.err)
		}
	}
}
