package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

func TestExposureOfTheAdminListener(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	tokens := []string{"", g.Token("payments"), g.JWT("grace")} // nobody, somebody, an administrator
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/pprof/profile?seconds=1",
		"/debug/pprof/cmdline", "/debug/vars", "/debug/requests", "/-/metrics", "/-/healthz", "/-/debug/pprof/", "/-/readyz"} {
		if strings.HasPrefix(path, "/metrics") || strings.HasPrefix(path, "/healthz") || strings.HasPrefix(path, "/readyz") || path == "/debug/pprof/heap" {
			response, err := http.Get(g.AdminURL + path)
			if err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("the admin listener answers %s with %+v, %v: the test tests nothing", path, response, err)
			}
			response.Body.Close()
		}
		for _, token := range tokens {
			a := g.Get(token, path)
			if a.StatusCode/100 == 2 || strings.Contains(a.Text, "go_goroutines") || strings.Contains(a.Text, "goroutine 1 [") {
				t.Errorf("the public listener answers %s with %d %.100s", path, a.StatusCode, a.Text)
			}
		}
	}
	for _, path := range []string{"/v1/projects", "/-/", "/-/api/whoami"} {
		request, _ := http.NewRequest("GET", g.AdminURL+path, nil)
		request.Header.Set("Authorization", "Bearer "+tokens[1])
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("the admin listener answers %s with %d", path, response.StatusCode)
		}
	}
	if admin := strings.TrimPrefix(g.AdminURL, "http://"); !strings.HasPrefix(admin, "127.0.0.1:") {
		t.Fatalf("the admin listener is at %s", admin)
	}
}

func TestExposureOfFiles(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.JWT("grace")
	for _, target := range []string{
		"/gateway.yaml", "/policy.yaml", "/pat", "/state/", "/state/state.db", "/.git/config", "/etc/passwd",
		"/-/gateway.yaml", "/-/../gateway.yaml", "/-/assets/../gateway.yaml", "/-/assets/..%2f..%2fgateway.yaml", "/-/assets/%2e%2e/%2e%2e/pat",
		"/-/assets/....//pat", "/-/assets/..\\..\\pat", "/-/assets//etc/passwd", "/-/assets/", "/-/assets", "/-/templates/base.html", "/-/api/audit?file=../../pat",
		"file://" + g.Path("pat"), "/-/assets/%00", "/-/api/config", "/-/api/credentials", "/-/debug",
	} {
		a := sendTarget(t, g, token, target)
		for _, secret := range []string{harness.UpstreamToken, "client-secret", "token: {file", "payments-eng", "root:", "href=\"assets"} {
			if a.StatusCode/100 == 2 && strings.Contains(a.Text, secret) {
				t.Errorf("%s was answered %d and shows %q", target, a.StatusCode, secret)
			}
		}
	}
	err := filepath.WalkDir(g.Path("state"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		isPublicKey := filepath.Ext(path) == ".pub"
		if err == nil && info.Mode().Perm()&0o077 != 0 && !isPublicKey {
			t.Errorf("%s may be read by others on the machine: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestExposureOfListeners: the process listens where it is configured to and nowhere else.
func TestExposureOfListeners(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	want := map[string]bool{}
	for _, url := range []string{g.URL, g.AdminURL} {
		_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		want[port] = true
	}
	for _, port := range listening(t, g.PID()) {
		if !want[port] {
			t.Errorf("something listens on port %s", port)
		}
		delete(want, port)
	}
	if len(want) > 0 {
		t.Errorf("found no listener on %v: the test tests nothing", want)
	}
}

// listening are the TCP ports that a process listens on, from its open files and the kernel's table of sockets.
func listening(t *testing.T, pid int) []string {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	mine := map[string]bool{}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil { // it may have been closed meanwhile
			mine[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	var ports []string
	for _, table := range []string{"tcp", "tcp6"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a machine without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			const listens = "0A"
			if fields := strings.Fields(line); len(fields) > 9 && fields[3] == listens && mine[fields[9]] {
				port, err := strconv.ParseUint(fields[1][strings.LastIndexByte(fields[1], ':')+1:], 16, 16)
				if err != nil {
					t.Fatal(err)
				}
				ports = append(ports, strconv.FormatUint(port, 10))
			}
		}
	}
	return ports
}
