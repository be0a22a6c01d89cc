package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// connectWait is how long a command tries: a service may be starting, another command may hold the file.
	connectWait = 3 * time.Second
	// connectPause lies between two tries.
	connectPause = 50 * time.Millisecond
	// callTimeout bounds one call to the control socket: a transaction on the local disk.
	callTimeout = 10 * time.Second
)

// Connection is a Store that a command has for the length of its run.
type Connection interface {
	Store
	io.Closer
}

// Connect gives a command the state in dir: the file itself, or, while a service holds that, its control socket. The
// errors are one line, for people.
func Connect(dir string) (Connection, error) {
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state directory %s does not exist: start the gateway once, or correct state.dir", dir)
	} else if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("no permission for state directory %s: run as the user that runs the gateway", dir)
	} else if err != nil {
		return nil, fmt.Errorf("reading state directory: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("state directory %s is not a directory: correct state.dir", dir)
	}
	for deadline := time.Now().Add(connectWait); ; time.Sleep(connectPause) {
		// One nanosecond: try once, since the loop waits for either of the two.
		e, err := openFile(dir, time.Nanosecond)
		if err == nil {
			return e, nil
		}
		if !errors.Is(err, bolterrors.ErrTimeout) {
			return nil, err
		}
		r, err := dial(dir)
		if err == nil {
			return r, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("no permission for %s: run as the user that runs the gateway", filepath.Join(dir, socketName))
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s is held by a process that does not answer on its control socket: %w",
				filepath.Join(dir, fileName), err)
		}
	}
}

// Remote is a Store that speaks to the control socket of a running service. Its Watch hears of its own writes only: a
// command does one thing and ends.
type Remote struct {
	dir      string
	client   *http.Client
	watchers watchers
}

// dial reaches the socket in dir once, so that a stale one is found out now.
func dial(dir string) (*Remote, error) {
	r := &Remote{dir: dir}
	conn, err := r.dial(context.Background(), "", "")
	if err != nil {
		return nil, err
	}
	_ = conn.Close()
	r.client = &http.Client{
		Transport: &http.Transport{DialContext: r.dial, Proxy: nil},
		Timeout:   callTimeout,
	}
	return r, nil
}

// dial ignores the address: there is one place to go.
func (r *Remote) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	path, release, err := socketPath(r.dir)
	if err != nil {
		return nil, err
	}
	defer release()
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// Close ends the connection.
func (r *Remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

// Get implements Store.
func (r *Remote) Get(ctx context.Context, table, key string) ([]byte, error) {
	return r.call(ctx, "get", request{Table: table, Key: key})
}

// Put implements Store.
func (r *Remote) Put(ctx context.Context, table, key string, value []byte, expires time.Time) error {
	return r.change(ctx, "put", request{Table: table, Key: key, Value: value, Expires: expires})
}

// Create implements Store.
func (r *Remote) Create(ctx context.Context, table, key string, value []byte, expires time.Time) error {
	return r.change(ctx, "create", request{Table: table, Key: key, Value: value, Expires: expires})
}

// Take implements Store.
func (r *Remote) Take(ctx context.Context, table, key string) ([]byte, error) {
	value, err := r.call(ctx, "take", request{Table: table, Key: key})
	if err != nil {
		return nil, err
	}
	r.watchers.tell(table, key)
	return value, nil
}

// Delete implements Store.
func (r *Remote) Delete(ctx context.Context, table, key string) error {
	return r.change(ctx, "delete", request{Table: table, Key: key})
}

// Watch implements Store, for writes made through this Remote.
func (r *Remote) Watch(table string, fn func(key string)) { r.watchers.add(table, fn) }

// Hearing implements Store: the service's own writes are not heard of here.
func (r *Remote) Hearing() bool { return false }

// Scan implements Store.
func (r *Remote) Scan(ctx context.Context, table string, fn func(key string, value []byte) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://control/scan/"+url.PathEscape(table), nil)
	if err != nil {
		return fmt.Errorf("asking the running gateway: %w", err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the running gateway: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := json.NewDecoder(resp.Body); ; {
		var a answer
		switch err := lines.Decode(&a); {
		case err != nil: // also an end without Done: the service stopped in the middle
			return fmt.Errorf("reading the running gateway's answer: %w", err)
		case a.Error != "":
			return fmt.Errorf("the running gateway says: %s", a.Error)
		case a.Done:
			return nil
		}
		if err := fn(a.Key, append([]byte{}, a.Value...)); err != nil {
			return err
		}
	}
}

func (r *Remote) change(ctx context.Context, what string, q request) error {
	if _, err := r.call(ctx, what, q); err != nil {
		return err
	}
	r.watchers.tell(q.Table, q.Key)
	return nil
}

func (r *Remote) call(ctx context.Context, what string, q request) ([]byte, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("asking the running gateway: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/"+what, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking the running gateway: %w", err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the running gateway: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	var a answer
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxRequestBytes)).Decode(&a); err != nil {
		return nil, fmt.Errorf("reading the running gateway's answer (status %d): %w", resp.StatusCode, err)
	}
	switch a.Error {
	case "":
		return append([]byte{}, a.Value...), nil
	case ErrNotFound.Error():
		return nil, ErrNotFound
	case ErrExists.Error():
		return nil, ErrExists
	}
	return nil, fmt.Errorf("the running gateway says: %s", a.Error)
}
