package http1

import (
	"errors"
	"os"
	"sync"
	"time"
)

// watcher reads from a connection while a request is answered, to notice that its client leaves. What comes is the next
// request. It is not called back when the answer is written: it waits for the next request in its connection's place, which
// costs less than to interrupt it.
type watcher struct {
	mu     sync.Mutex
	leave  func() // ends the request that last wanted to know, which does nothing to one that is over; nil: none did
	failed error  // that of the last read

	reading bool     // somebody is, or has left in came what was read
	came    chan int // capacity 1
}

// watch has leave called when the client leaves. Whether one has that sent more than there is room for shows later.
func (c *conn) watch(leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave = leave
	if c.reading {
		select {
		case n := <-c.came:
			c.come = c.come[:len(c.come)+n]
			c.reading = false
		default:
			return
		}
	}
	if c.failed != nil {
		leave()
		return
	}
	c.come = c.buffer[:copy(c.buffer, c.come)]
	room := c.buffer[len(c.come):] // that of the request which is answered at least
	if c.came == nil {
		c.came = make(chan int, 1)
	}
	c.reading = true
	go c.readOn(room)
}

// readOn reads once.
func (c *conn) readOn(room []byte) {
	for {
		n, err := c.Conn.Read(room)
		if leave, over := c.hasRead(n, err); over {
			if leave != nil {
				leave()
			}
			return
		}
	}
}

// hasRead hands over what a read of the watcher's has come to, and returns who is to be told of it. It reports false where the
// read has only outlasted a deadline that was for the time between two requests.
func (c *conn) hasRead(n int, err error) (leave func(), over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.state.Load() == answering {
		_ = c.Conn.SetReadDeadline(time.Time{}) // an error here comes back from the read
		return nil, false
	}
	c.came <- n // there is room; and under the lock, or a request that begins now would neither find it nor be watched
	if c.failed = err; err == nil {
		return nil, true
	}
	return c.leave, true
}

// takeOver waits for what the watcher reads.
func (c *conn) takeOver() (n int) {
	n = <-c.came
	c.reading = false
	c.come = c.come[:len(c.come)+n]
	return n
}

// callBack ends the watcher's read, and returns all that has come.
func (c *conn) callBack() []byte {
	if c.reading {
		c.mu.Lock() // a watcher whose old deadline has just passed would take this one away with it, and read on
		c.state.Store(arriving)
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // if it cannot be set there is no connection to read from
		c.mu.Unlock()
		c.takeOver()
	}
	_ = c.Conn.SetReadDeadline(time.Time{})
	return c.come
}
