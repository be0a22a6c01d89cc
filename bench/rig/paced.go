package rig

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Target is a server and what it is asked.
type Target struct {
	Address string
	Request []byte
}

// Paced sends requests to all targets at the same time, to each at a fixed rate, whatever they do. It returns for each the times
// from when a request was due until its answer was read, in ascending order. A server that falls behind is thereby charged
// for the requests that it delays (no coordinated omission), and what delays the whole machine delays all alike.
func Paced(targets []Target, perSecond int, length time.Duration) ([][]time.Duration, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // the sender sleeps in the kernel and must not hold up the readers
	lanes := make([]*lane, Connections*len(targets))
	for i := range lanes {
		target := i % len(targets)
		c, err := dial(targets[target].Address)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		lanes[i] = &lane{connection: c, target: target, due: make(chan time.Time, perSecond)}
	}
	var readers sync.WaitGroup
	for _, lane := range lanes {
		readers.Go(lane.read)
	}
	perSecond *= len(targets)
	err := send(lanes, targets, time.Second/time.Duration(perSecond), int(length.Seconds()*float64(perSecond)))
	for _, lane := range lanes {
		close(lane.due)
	}
	readers.Wait()
	took := make([][]time.Duration, len(targets))
	for _, lane := range lanes {
		if lane.fault != nil {
			return nil, fmt.Errorf("load on %s: %w", targets[lane.target].Address, lane.fault)
		}
		took[lane.target] = append(took[lane.target], lane.took...)
	}
	for i := range took {
		slices.Sort(took[i])
	}
	return took, err
}

// lane is one connection and the requests on their way on it.
type lane struct {
	*connection
	target int
	due    chan time.Time
	took   []time.Duration
	fault  error
}

func (l *lane) read() {
	for due := range l.due {
		if l.fault != nil {
			continue
		}
		if _, l.fault = l.answer(); l.fault == nil {
			l.took = append(l.took, time.Since(due))
		}
	}
}

// send writes each request when it is due. It sleeps in a thread of its own with the finest timer: Go's own timers may be
// a millisecond late where the processor has nothing else to do.
func send(lanes []*lane, targets []Target, every time.Duration, n int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return err
	}
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(i) * every)
		if wait := time.Until(due); wait > 0 {
			span := unix.NsecToTimespec(wait.Nanoseconds())
			_ = unix.Nanosleep(&span, nil) // a signal may cut it short, which sends this one early by less than a millisecond
		}
		lane := lanes[i%len(lanes)]
		lane.due <- due
		if _, err := lane.Write(targets[lane.target].Request); err != nil {
			return err
		}
	}
	return nil
}

// Percentile is the value below which so much of the ascending times lie.
func Percentile(ascending []time.Duration, percent float64) time.Duration {
	if len(ascending) == 0 {
		return 0
	}
	return ascending[min(len(ascending)-1, int(float64(len(ascending))*percent/100))]
}
