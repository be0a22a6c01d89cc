package cache

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// notice is what a message on channelWrites tells.
type notice string

const (
	noticeRaise  notice = "raise"  // replica, number, counters: a write; to be acknowledged
	noticePurge  notice = "purge"  // the same, and memory is freed
	noticeFilled notice = "filled" // key: a fetch that others wait for has ended
)

const (
	tellAgainAfter = 50 * time.Millisecond
	// maxOwedAcks bounds the acknowledgements not sent yet. One that does not fit is waited for in vain, a while.
	maxOwedAcks = 1024
)

// announce makes a write known to every replica and returns when none of them can answer a read with what was there
// before it. It takes one round trip to Redis and one to the slowest replica; where one does not answer, deafWithin;
// where Redis does not, silenceMeansDeaf; and no time where it has been silent for that long already.
func (s *shared) announce(kind notice, indexes []uint32) {
	number := s.calls.Add(1)
	heard := s.acks.expect(number)
	defer s.acks.forget(number)
	for began := time.Now(); ; {
		missing, err := s.tell(s.closing, kind, indexes, number)
		switch {
		case err == nil:
			s.await(heard, missing)
			return
		case s.deafForLong(), time.Since(began) > silenceMeansDeaf, s.closing.Err() != nil:
			// Fail open: who can still hear Redis while this replica cannot keeps what it has until its freshness ends.
			s.tally.unanswered.Add(1)
			s.trust.outages.Add(1)
			s.trust.awake()
			return
		}
		time.Sleep(tellAgainAfter)
	}
}

// tell raises the counters in Redis and publishes that. It returns the replicas that will acknowledge it; nil where Redis
// cannot know them.
func (s *shared) tell(ctx context.Context, kind notice, indexes []uint32, number uint64) (map[string]bool, error) {
	ctx, cancel := s.command(ctx)
	defer cancel()
	list := joined(indexes)
	message := fmt.Sprintf("%s %s %d %s", kind, s.id, number, list)
	reply, err := raiseScript.Run(ctx, s.client, []string{keyGenerations, keyReplicas}, list, channelWrites, message).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("telling the replicas of a write: %w", err)
	}
	age, err := strconv.ParseInt(reply[0], 10, 64)
	if err != nil || time.Duration(age)*time.Microsecond < registeredFor {
		return nil, nil // Redis has lost its memory: some replica may not have registered again
	}
	members := make(map[string]bool)
	for _, id := range reply[1:] {
		if id != s.id {
			members[id] = true
		}
	}
	return members, nil
}

// await waits for acknowledgements until those who owe one must have become deaf.
func (s *shared) await(heard <-chan string, missing map[string]bool) {
	known := missing != nil
	timer := time.NewTimer(deafWithin) // from now: when Redis published it is known no better
	defer timer.Stop()
	for !known || len(missing) > 0 {
		select {
		case id := <-heard:
			delete(missing, id)
		case <-timer.C:
			s.tally.outlasted.Add(1)
			return
		}
	}
	s.tally.acknowledged.Add(1)
}

// heard acts on a message of another replica, or of this one. It runs on the feed's goroutine.
func (s *shared) heard(message string) {
	kind, rest, _ := strings.Cut(message, " ")
	switch notice(kind) {
	case noticeFilled:
		s.waits.end(rest)
	case noticeRaise, noticePurge:
		parts := strings.Fields(rest)
		if len(parts) != 3 || parts[0] == s.id {
			return // who writes raises its own
		}
		indexes, ok := parseIndexes(parts[2])
		number, err := strconv.ParseUint(parts[1], 10, 64)
		if !ok || err != nil {
			s.fence.raise(everything) // of another version: it may mean anything
			return
		}
		s.fence.raise(indexes...)
		if notice(kind) == noticePurge {
			go s.purged() // walks memory: too long for the feed
		}
		select {
		case s.acks.owed <- ack{to: parts[0], number: number}:
		default:
		}
	default:
		s.fence.raise(everything)
	}
}

// ack is one acknowledgement to be sent.
type ack struct {
	to     string
	number uint64
}

// acks are those this replica owes, and those it waits for.
type acks struct {
	owed chan ack

	mu      sync.Mutex
	waiting map[uint64]chan string // by the number of the notice: who has acknowledged it
}

func (a *acks) expect(number uint64) <-chan string {
	heard := make(chan string, 64) // as many replicas may answer before this one looks
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting[number] = heard
	return heard
}

func (a *acks) forget(number uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, number)
}

// heard takes an acknowledgement: a number and a replica.
func (a *acks) heard(message string) {
	text, id, _ := strings.Cut(message, " ")
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case a.waiting[number] <- id: // a nil channel takes nothing
	default:
	}
}

// acknowledge sends what is owed, as much at once as has come together.
func (s *shared) acknowledge(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-s.acks.owed:
			s.sendAcks(ctx, first)
		}
	}
}

func (s *shared) sendAcks(ctx context.Context, next ack) {
	pipe := s.client.Pipeline()
	for more := true; more; {
		pipe.Publish(ctx, channelAcks+next.to, strconv.FormatUint(next.number, 10)+" "+s.id)
		select {
		case next = <-s.acks.owed:
		default:
			more = false
		}
	}
	ctx, cancel := s.command(ctx)
	defer cancel()
	_, _ = pipe.Exec(ctx) // who waits in vain waits no longer than this replica could have been trusted
}

func joined(indexes []uint32) string {
	var b []byte
	for i, index := range indexes {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(index), 10)
	}
	return string(b)
}

func parseIndexes(list string) ([]uint32, bool) {
	var indexes []uint32
	for text := range strings.SplitSeq(list, ",") {
		index, err := strconv.ParseUint(text, 10, 32)
		if err != nil || index >= generations {
			return nil, false
		}
		indexes = append(indexes, uint32(index))
	}
	return indexes, true
}
