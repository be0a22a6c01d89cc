package http1

import (
	"context"
	"io"
	"os"
	"runtime"
	"testing"
	"time"
)

// A client may leave, or send more, just before a request begins: the watcher of the one before has noticed.
func TestWhatTheWatcherReadsJustBeforeARequestIsKnownToIt(t *testing.T) {
	for _, text := range []string{"", get} {
		for _, end := range []error{nil, io.EOF} {
			c := newConn(newServer(nil), newScripted(nil, 0))
			c.come, c.reading, c.came = c.buffer[:0], true, make(chan int, 1)
			if _, over := c.hasRead(copy(c.buffer, text), end); !over {
				t.Errorf("%q, %v: the watcher reads on", text, end)
			}
			left := make(chan bool, 1)
			c.watch(func() { left <- true })
			<-left // or there is nobody who would find out
			if string(c.come) != text {
				t.Errorf("%q, %v: %q has come", text, end, c.come)
			}
		}
	}
}

// askedConn tells what is done to its deadline.
type askedConn struct {
	*scripted
	deadline func(time.Time)
}

func (c askedConn) SetReadDeadline(deadline time.Time) error { c.deadline(deadline); return nil }

// What the watcher does about a deadline that passes, and what is set meanwhile, exclude each other.
func TestDeadlinesAreSetUnderTheWatchersLock(t *testing.T) {
	c, set := newConn(newServer(nil), newScripted(nil, 0)), 0
	c.Conn = askedConn{newScripted(nil, 0), func(time.Time) {
		if set++; c.mu.TryLock() {
			t.Error("the watcher may undo it")
			c.mu.Unlock()
		}
	}}
	now := time.Now()
	for _, come := range []string{"", "", get[:1], get[:2]} {
		c.come = c.buffer[:copy(c.buffer, come)]
		c.expect(now)
	}
	if set != 2 {
		t.Errorf("%d deadlines were set, want one for requests and one for the rest of a header", set)
	}
}

// A deadline that passes while a connection changes hands must not be mistaken for the one that ends the watcher, nor undo it.
func TestTheWatcherIsCalledBackAtOnce(t *testing.T) {
	c := newConn(newServer(nil), newScripted(nil, 0))
	c.reading, c.came = true, make(chan int, 1)
	c.state.Store(answering)
	var last time.Time
	c.Conn = askedConn{newScripted(nil, 0), func(deadline time.Time) {
		if last = deadline; deadline.IsZero() {
			return
		}
		if c.mu.TryLock() {
			t.Error("the watcher may undo it")
			c.mu.Unlock()
		}
		go func() {
			if _, over := c.hasRead(0, os.ErrDeadlineExceeded); !over {
				t.Error("the watcher reads on")
			}
		}()
	}}
	c.callBack()
	if !last.IsZero() {
		t.Errorf("the deadline %v is left to net/http", last)
	}
}

// Contexts that are derived from a request's join it as they join one of package context: by no goroutine of their own.
func TestADerivedContextCostsNoGoroutine(t *testing.T) {
	x := &requestContext{conn: newConn(newServer(nil), newScripted(nil, 0))}
	x.inner, x.cancel = context.WithCancel(t.Context())
	before, derived := runtime.NumGoroutine(), context.Context(nil)
	for range 100 {
		var cancel context.CancelFunc
		derived, cancel = context.WithTimeout(x, time.Hour)
		defer cancel()
	}
	if got := runtime.NumGoroutine() - before; got > 50 {
		t.Errorf("%d goroutines for a hundred contexts", got)
	}
	x.end()
	<-derived.Done()
}

// Inside TLS a read may come to both: bytes, and a deadline that passes while the next record comes.
func TestWhatComesWithADeadlineIsNotLost(t *testing.T) {
	c := newConn(newServer(nil), newScripted(nil, 0))
	c.came = make(chan int, 1)
	c.state.Store(answering)
	if _, over := c.hasRead(len(get), os.ErrDeadlineExceeded); !over {
		t.Error("the watcher reads over what has come")
	}
}
