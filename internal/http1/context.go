package http1

import (
	"context"
	"sync"
	"time"
)

// requestContext is the context of one request: it ends with the answer, or before it when the client leaves. Whether the
// client is still there can only be told by reading from the connection. That is begun only once somebody has asked for Done.
type requestContext struct {
	conn *conn

	mu     sync.Mutex
	over   bool
	inner  context.Context // nil until somebody asks for Done
	cancel context.CancelFunc
}

// Deadline implements context.Context. There is none.
func (x *requestContext) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Done implements context.Context.
func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.inner == nil {
		x.inner, x.cancel = context.WithCancel(context.Background())
		if x.over {
			x.cancel()
		} else {
			x.conn.watch(x.cancel)
		}
	}
	return x.inner.Done()
}

// Err implements context.Context.
func (x *requestContext) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.inner != nil:
		return x.inner.Err()
	case x.over:
		return context.Canceled
	default:
		return nil
	}
}

// Value implements context.Context. Contexts derived from this one find the inner one by it, and join it directly.
func (x *requestContext) Value(key any) any {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.inner == nil {
		return nil
	}
	return x.inner.Value(key)
}

// end ends the context; the client is not watched any more.
func (x *requestContext) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	if x.cancel != nil {
		x.conn.unwatch()
		x.cancel()
	}
}
