package audit

import "time"

// sink is one place batches go to. A queue's worker alone calls it, so it needs no lock.
type sink interface {
	// write stores every line of b as durably as the sink can, and returns an error when it could not: the same batch then
	// comes again. An empty batch asks it to do what is due. lost are lines that it has given up as nobody will take them.
	write(b *batch) (lost int, err error)
	// due is when the sink next wants to be called without lines; zero: never.
	due() time.Time
	close() error
}

// Stats is what a sink has done since Open.
type Stats struct {
	Sink     string // "file", or the Shipper's name: a label
	Required bool
	Recorded uint64 // lines stored
	Failed   uint64 // attempts to store a batch that failed
	Dropped  uint64 // lines that were refused or lost: the sink had failed, its buffer was full, or its place rejected them
	Waiting  int    // lines in memory
	Err      error  // why it cannot record now; nil: it can
}

// entry is what the queue must know about a line.
type entry struct {
	id            string
	opens, closes bool // an intent, or the outcome of a recorded one
	urgent        bool // not to wait for the flush
	waits         bool // the caller waits for it to be stored
}

// ticket is what a caller waits on. err is set before done is closed.
type ticket struct {
	done chan struct{}
	err  error
}

// batch is what is written, and synced, at once.
type batch struct {
	own     []byte   // what each line has of its own, back to back
	ends    []int    // where that ends
	shared  [][]byte // the rest of each body
	size    int      // bytes of all bodies
	marks   []entry  // intents and their outcomes, in order
	urgent  bool
	since   time.Time // when its first line came
	waiting int64     // how many lines are waited for
	ticket  *ticket   // nil while nobody waits
}

func (b *batch) add(line body) {
	b.own = append(b.own, line.own...)
	b.ends = append(b.ends, len(b.own))
	b.shared = append(b.shared, line.shared)
	b.size += line.len()
}

// each calls fn with every body.
func (b *batch) each(fn func(body)) {
	start := 0
	for i, end := range b.ends {
		fn(body{b.own[start:end], b.shared[i]})
		start = end
	}
}

// again returns an empty batch with the memory of b.
func (b *batch) again() *batch {
	clear(b.shared) // what is shared lives as long as somebody needs it
	return &batch{own: b.own[:0], ends: b.ends[:0], shared: b.shared[:0], marks: b.marks[:0]}
}

// release tells those who wait how it ended. Later ones get a ticket of their own.
func (b *batch) release(err error) {
	b.ticket.settle(err)
	b.ticket = nil
}

// settle ends the wait; that of nobody, a nil ticket, has ended.
func (t *ticket) settle(err error) {
	if t != nil {
		t.err = err
		close(t.done)
	}
}
