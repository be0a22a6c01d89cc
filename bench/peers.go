package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"corp.example/gateway/bench/rig"
)

// peerCommand makes this program one of the bare peers: "peer handler ADDRESS FOLDER" or "peer proxy ADDRESS UPSTREAM".
const peerCommand = "peer"

func servePeer(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("want %s handler ADDRESS FOLDER or %s proxy ADDRESS UPSTREAM", peerCommand, peerCommand)
	}
	var handler http.Handler
	var err error
	switch args[0] {
	case "handler":
		handler, err = newHandler(args[2])
	case "proxy":
		handler, err = newProxy(args[2])
	default:
		err = fmt.Errorf("there is no peer %q", args[0])
	}
	if err != nil {
		return err
	}
	return http.ListenAndServe(args[1], handler)
}

// newHandler answers from memory with the files of a folder, by name; those that end in .gz are gzip. /mallocs tells how
// often the process has allocated, and /waiting how many clients of /wait are there, which is never answered.
func newHandler(folder string) (http.Handler, error) {
	type answer struct {
		body                   []byte
		kind, length, encoding []string
	}
	answers := map[string]answer{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		body, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		a := answer{body: body, kind: []string{"application/json"}, length: []string{strconv.Itoa(len(body))}}
		if strings.HasSuffix(entry.Name(), ".gz") {
			a.encoding = []string{"gzip"}
		}
		answers["/"+entry.Name()] = a
	}
	var waiting atomic.Int64
	others := map[string]http.HandlerFunc{ // apart, so that the stack of an answer has no room for what these need
		"/mallocs": func(w http.ResponseWriter, _ *http.Request) {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Fprintln(w, m.Mallocs)
		},
		"/wait": func(_ http.ResponseWriter, r *http.Request) {
			waiting.Add(1)
			defer waiting.Add(-1)
			<-r.Context().Done()
		},
		"/waiting": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, waiting.Load()) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, found := answers[r.URL.Path]
		if !found {
			if other := others[r.URL.Path]; other != nil {
				other(w, r)
				return
			}
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h["Content-Type"], h["Content-Length"] = a.kind, a.length
		if a.encoding != nil {
			h["Content-Encoding"] = a.encoding
		}
		_, _ = w.Write(a.body)
	}), nil
}

// newProxy is httputil.ReverseProxy as well tuned as it can be without changing what it does.
func newProxy(upstream string) (http.Handler, error) {
	target, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(target) },
		BufferPool: &buffers{sync.Pool{New: func() any { return new([32 << 10]byte) }}},
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConns:        4 * rig.Connections,
			MaxIdleConnsPerHost: 4 * rig.Connections,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
	}, nil
}

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte  { return b.pool.Get().(*[32 << 10]byte)[:] }
func (b *buffers) Put(p []byte) { b.pool.Put((*[32 << 10]byte)(p)) }

// startNginx runs Debian's nginx with one worker. /…/functions is answered from its cache, everything else is handed on.
// Both know the caller's team from a map of tokens, and write a buffered access log.
func startNginx(program, dir, upstream, token string) (*rig.Process, string, error) {
	address, err := rig.FreeAddress()
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, "nginx.conf")
	config := fmt.Sprintf(`daemon off; worker_processes 1; pid %[1]s/nginx.pid; error_log %[1]s/nginx.error warn;
%[5]sevents { worker_connections 4096; }
http {
  access_log %[1]s/nginx.access combined buffer=64k flush=1s;
  client_body_temp_path %[1]s/nginx-body; proxy_temp_path %[1]s/nginx-temp; fastcgi_temp_path %[1]s/nginx-f; uwsgi_temp_path %[1]s/nginx-u; scgi_temp_path %[1]s/nginx-s;
  keepalive_requests 1000000000; sendfile on; tcp_nopush on; open_file_cache max=1000;
  map_hash_bucket_size 128;
  map $http_authorization $team { default ""; "Bearer %[2]s" bench; }
  proxy_cache_path %[1]s/nginx-cache keys_zone=answers:10m;
  upstream api { server %[3]s; keepalive 256; keepalive_requests 1000000000; }
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {
    listen %[4]s;
    location / { if ($team = "") { return 401; } proxy_pass http://api; }
    location ~ /functions$ {
      if ($team = "") { return 401; }
      proxy_pass http://api; proxy_cache answers; proxy_cache_valid 200 1h; proxy_ignore_headers Cache-Control;
    }
  }
}
`, dir, token, upstream, address, nginxUser())
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, "", err
	}
	p, err := rig.Start(program, "-c", path, "-e", filepath.Join(dir, "nginx.error"))
	if err != nil {
		return nil, "", err
	}
	return p, address, p.AwaitListening(address)
}

// nginxUser lets the worker into the folder where the measurement runs as root.
func nginxUser() string {
	if os.Getuid() == 0 {
		return "user root; "
	}
	return ""
}

// startCaddy runs Caddy as a proxy that lets one token through and writes an access log.
func startCaddy(program, dir, upstream, token string) (*rig.Process, string, error) {
	address, err := rig.FreeAddress()
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, "Caddyfile")
	_, port, _ := net.SplitHostPort(address)
	config := fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
	storage file_system %[1]s/caddy
}
http://:%[2]s {
	log {
		output file %[1]s/caddy.access
	}
	@known header Authorization "Bearer %[3]s"
	handle @known {
		reverse_proxy %[4]s {
			transport http {
				keepalive_idle_conns_per_host 256
				compression off
			}
		}
	}
	respond 401
}
`, dir, port, token, upstream)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, "", err
	}
	p, err := rig.Start(program, "run", "--config", path, "--adapter", "caddyfile")
	if err != nil {
		return nil, "", err
	}
	return p, address, p.AwaitListening(address)
}
