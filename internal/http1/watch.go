package http1

import (
	"errors"
	"os"
	"sync"
	"time"
)

// watchAfter is how long an answer takes at least whose client is watched: the reading costs more than many an answer, and who
// leaves sooner than that leaves little undone.
const watchAfter = 10 * time.Millisecond

// watcher reads from a connection while a request is answered, to notice that its client leaves. What comes is the next
// request. It is not called back when the answer is written: it waits for the next request in its connection's place, which
// costs less than to interrupt it.
type watcher struct {
	mu     sync.Mutex
	leave  func()      // ends the request that is answered; nil: there is none, or it need not know
	begin  *time.Timer // runs readOn; nil until first needed
	failed error       // that of the last read

	reading bool     // somebody is, or has left in came what was read
	came    chan int // capacity 1
}

// watch has leave called when the client leaves before unwatch. Whether one has that sent more than there is room for shows
// later.
func (c *conn) watch(leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave = leave
	if c.reading {
		select {
		case n := <-c.came:
			c.took(n)
		default:
			return
		}
	}
	switch {
	case c.failed != nil:
		leave()
	case c.begin == nil:
		c.begin = time.AfterFunc(watchAfter, c.readOn)
	default:
		c.begin.Reset(watchAfter)
	}
}

// unwatch is the end of the request that wanted to know.
func (c *conn) unwatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave = nil
	if c.begin != nil {
		c.begin.Stop()
	}
}

// readOn reads once.
func (c *conn) readOn() {
	room := c.room()
	for room != nil {
		n, err := c.Conn.Read(room)
		if leave, over := c.hasRead(n, err); over {
			if leave != nil {
				leave()
			}
			return
		}
	}
}

// room is where the watcher may read to; nil where the request is over, and its connection reads by itself.
func (c *conn) room() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leave == nil || c.reading {
		return nil
	}
	if c.came == nil {
		c.came = make(chan int, 1)
	}
	c.reading = true
	c.come = c.buffer[:copy(c.buffer, c.come)]
	return c.buffer[len(c.come):] // that of the request which is answered at least
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
	c.took(n)
	return n
}

// took makes what the watcher has read the connection's.
func (c *conn) took(n int) {
	c.reading = false
	c.come = c.come[:len(c.come)+n]
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
