package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	socketName = "control.sock"

	// maxSocketPath is the shortest limit among the systems we run on (macOS: 104 bytes with the terminating zero).
	maxSocketPath = 103
	// maxRequestBytes bounds a request on the control socket: a value in base64 and its names.
	maxRequestBytes = 2 * MaxValueBytes
	// drainWait is how long closing waits for requests in progress; each is one short transaction.
	drainWait = 2 * time.Second
)

// request is what travels to the control socket, as JSON. The path says what is asked.
type request struct {
	Table   string    `json:"table"`
	Key     string    `json:"key,omitempty"`
	Value   []byte    `json:"value,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// answer is what comes back. A scan is answered with one line per value, then a line with Done or Error.
type answer struct {
	Key   string `json:"key,omitempty"`
	Value []byte `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
	Done  bool   `json:"done,omitempty"`
}

// control serves the store to other processes of the same user, on a unix socket in the state directory.
type control struct {
	path   string
	server *http.Server
	done   chan struct{}
}

// serveControl listens in dir. Whoever holds the state file is the only one who may, so a socket that is already there
// was left by a killed process.
func serveControl(dir string, store *Embedded) (*control, error) {
	path := filepath.Join(dir, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the stale control socket: %w", err)
	}
	short, release, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on the control socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // its name may be the short one, which is gone by then
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protecting the control socket: %w", err), l.Close())
	}
	c := &control{path: path, done: make(chan struct{})}
	c.server = &http.Server{Handler: handler(store), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(c.done)
		_ = c.server.Serve(l) // ends with ErrServerClosed
	}()
	return c, nil
}

func (c *control) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainWait)
	defer cancel()
	err := c.server.Shutdown(ctx)
	<-c.done
	if rm := os.Remove(c.path); rm != nil && !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// handler answers one kind of request per path. The socket's mode keeps other users out; there is nothing else to check.
func handler(store *Embedded) http.Handler {
	mux := http.NewServeMux()
	reply := func(do func(context.Context, request) ([]byte, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var q request
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes)).Decode(&q); err != nil {
				http.Error(w, "unreadable request", http.StatusBadRequest)
				return
			}
			value, err := do(r.Context(), q)
			a := answer{Value: value, Done: err == nil}
			if err != nil {
				a.Error = err.Error()
			}
			_ = json.NewEncoder(w).Encode(a) // the other side may be gone
		}
	}
	mux.HandleFunc("POST /get", reply(func(ctx context.Context, q request) ([]byte, error) {
		return store.Get(ctx, q.Table, q.Key)
	}))
	mux.HandleFunc("POST /take", reply(func(ctx context.Context, q request) ([]byte, error) {
		return store.Take(ctx, q.Table, q.Key)
	}))
	mux.HandleFunc("POST /put", reply(func(ctx context.Context, q request) ([]byte, error) {
		return nil, store.Put(ctx, q.Table, q.Key, q.Value, q.Expires)
	}))
	mux.HandleFunc("POST /create", reply(func(ctx context.Context, q request) ([]byte, error) {
		return nil, store.Create(ctx, q.Table, q.Key, q.Value, q.Expires)
	}))
	mux.HandleFunc("POST /delete", reply(func(ctx context.Context, q request) ([]byte, error) {
		return nil, store.Delete(ctx, q.Table, q.Key)
	}))
	mux.HandleFunc("GET /scan/{table}", func(w http.ResponseWriter, r *http.Request) { scan(w, r, store) })
	return mux
}

func scan(w http.ResponseWriter, r *http.Request, store *Embedded) {
	out := json.NewEncoder(w)
	err := store.Scan(r.Context(), r.PathValue("table"), func(key string, value []byte) error {
		return out.Encode(answer{Key: key, Value: value})
	})
	last := answer{Done: err == nil}
	if err != nil {
		last.Error = err.Error()
	}
	_ = out.Encode(last)
}

// socketPath returns a name for the socket in dir that is short enough for the kernel, and a function that frees what
// it took. For a long dir that is a symbolic link in a private temporary directory: the kernel measures the name it is
// given, not where it leads, and both sides may use different links to the same socket.
func socketPath(dir string) (string, func(), error) {
	if path := filepath.Join(dir, socketName); len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, fmt.Errorf("finding the state directory: %w", err)
	}
	temp, err := os.MkdirTemp("", "gw")
	if err != nil {
		return "", nil, fmt.Errorf("shortening the control socket's path: %w", err)
	}
	release := func() { _ = os.RemoveAll(temp) } // a link left behind harms nobody
	link := filepath.Join(temp, "d")
	if err := os.Symlink(absolute, link); err != nil {
		release()
		return "", nil, fmt.Errorf("shortening the control socket's path: %w", err)
	}
	return filepath.Join(link, socketName), release, nil
}
