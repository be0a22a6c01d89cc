package http1

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// headerBytes is the room for what has come and was not served. A header that does not fit, with a token of many groups in
// it, is net/http's; each idle connection costs this much.
const headerBytes = 4 << 10

// deadlineRenewed is how often the deadline of a connection without a request is set anew: it costs as much as a look into the
// cache.
const deadlineRenewed = time.Second

// What a connection is doing.
const (
	idle int32 = iota // it waits for a request
	arriving
	answering
	ended // by Shutdown
)

// conn is one connection for as long as its requests are plain. What has come of them is the serving goroutine's, but for the
// time in which a handler runs: then the watcher's lock guards come and reading, since a watch may begin.
type conn struct {
	takenConn
	server *Server
	remote string
	tls    *tls.ConnectionState // nil: none
	state  atomic.Int32

	buffer []byte    // headerBytes
	come   []byte    // the part of it that is not served
	begun  time.Time // since when a header is awaited, or found to come in parts; zero: it is not
	rested time.Time // when the deadline for reading was last set for the time between two requests; zero: it must be
	fields fields    // of the last request

	watcher
}

func newConn(s *Server, raw net.Conn) *conn {
	c := &conn{takenConn: takenConn{Conn: raw}, server: s, remote: raw.RemoteAddr().String(), buffer: make([]byte, headerBytes)}
	if inner, is := raw.(*tls.Conn); is {
		c.tls = connectionState(inner)
	}
	return c
}

// connectionState is not inlined: its copy would stay on the stack under every handler, which just fits 8 KiB. The next size
// is 16, and thousands may wait.
//
//go:noinline
func connectionState(conn *tls.Conn) *tls.ConnectionState {
	state := conn.ConnectionState()
	return &state
}

// serve answers plain requests until another one begins, and returns what has come of it; or until the connection is over.
func (c *conn) serve() (rest []byte, goesOn bool) {
	c.await(time.Now()) // who opens a connection has something to ask
	for {
		target, place, size, is := c.fields.next(c.come)
		switch {
		case is == notPlain, is == unfinished && len(c.come) == len(c.buffer):
			return c.callBack(), true
		case is == unfinished:
			if !c.read() {
				return nil, false
			}
			continue
		}
		c.come, c.begun = c.come[size:], time.Time{}
		if !c.answer(target, place) {
			return nil, false
		}
	}
}

// read waits for more of a request. It reports false when no more can come, or not in time.
func (c *conn) read() bool {
	if !c.expect(time.Now()) {
		return false
	}
	var n int
	if c.reading {
		n = c.takeOver()
	} else {
		c.come = c.buffer[:copy(c.buffer, c.come)]
		n, _ = c.Conn.Read(c.buffer[len(c.come):]) // where nothing comes the connection is over, whatever the error
		c.come = c.buffer[:len(c.come)+n]
	}
	return n > 0 && (c.state.Load() == arriving || c.state.CompareAndSwap(idle, arriving))
}

// expect sets how long what is read next may take to come. It reports false where nothing is served any more.
func (c *conn) expect(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.come) == 0:
		c.state.Store(idle)
		if c.server.closing.Load() {
			return false
		}
		if c.begun.IsZero() && now.Sub(c.rested) >= deadlineRenewed {
			c.rested = now
			_ = c.Conn.SetReadDeadline(now.Add(c.server.IdleTimeout + deadlineRenewed)) // an error here comes back from the read
		}
	case c.begun.IsZero():
		c.state.Store(arriving)
		c.await(now)
	}
	return true
}

// await sets how long a header may take to come.
func (c *conn) await(now time.Time) {
	c.begun, c.rested = now, time.Time{}
	_ = c.Conn.SetReadDeadline(now.Add(c.server.HeaderTimeout)) // an error here comes back from the read
}

// answer has the handler answer a request, and reports whether another one may follow: none behind a panic, and what was
// written before it is all that the client gets.
func (c *conn) answer(target string, place *url.URL) (goesOn bool) {
	c.state.Store(answering)
	ctx := &requestContext{conn: c}
	r := c.fields.request(ctx, target, place)
	r.RemoteAddr, r.TLS = c.remote, c.tls
	w := c.server.answerTo(c)
	defer func() {
		ctx.end()
		w.release()
		if value := recover(); value != nil && value != http.ErrAbortHandler {
			c.server.Log.Error("panic while answering", "remote", c.remote, "stack", string(debug.Stack()))
		}
	}()
	c.server.Handler.ServeHTTP(w, r)
	return w.finish()
}
