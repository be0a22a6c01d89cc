package identity

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"corp.example/gateway/internal/clientaddr"
	"corp.example/gateway/internal/problem"
)

// The failure limit: a leaky bucket per address. Nobody guesses 136 random bits or a signature; the limit keeps the
// attempts from costing much and makes them stand out from the 401 of a forgotten token.
const (
	failuresFree  = 20              // failures an address may collect: a team behind one address with stale tokens
	failureDrain  = 6 * time.Second // one failure is forgotten each: ten a minute may go on for ever
	failuresMax   = 40              // the bucket holds no more, so that an address is back to normal after four minutes
	failuresTable = 10_000          // addresses remembered; about 1 MiB
)

// failures counts failed authentications per address. IPv6 is counted by /64, which is what one customer gets.
type failures struct {
	mu        sync.Mutex
	byAddress map[netip.Addr]failure
}

type failure struct {
	count float64 // at the time below; it drains from there
	at    time.Time
}

func (f failure) drained(now time.Time) float64 {
	return max(0, f.count-float64(now.Sub(f.at))/float64(failureDrain))
}

// add counts one failure and returns how long the address has to wait before a failure is answered plainly again; zero:
// it may go on.
func (f *failures) add(remote netip.Addr, now time.Time) time.Duration {
	address := clientaddr.Network(remote)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byAddress == nil {
		f.byAddress = make(map[netip.Addr]failure)
	}
	known, ok := f.byAddress[address]
	if !ok && len(f.byAddress) >= failuresTable {
		f.makeRoom(now)
	}
	count := min(known.drained(now)+1, failuresMax)
	f.byAddress[address] = failure{count: count, at: now}
	if count <= failuresFree {
		return 0
	}
	return time.Duration((count - failuresFree + 1) * float64(failureDrain))
}

// makeRoom forgets those whose failures have drained. Where that is not enough, a tenth of the rest goes, whoever it is:
// somebody who commands that many addresses is not stopped by counting them, and must not make each failure cost a walk
// through the table.
func (f *failures) makeRoom(now time.Time) {
	for address, known := range f.byAddress {
		if known.drained(now) == 0 {
			delete(f.byAddress, address)
		}
	}
	for address := range f.byAddress {
		if len(f.byAddress) <= failuresTable*9/10 {
			return
		}
		delete(f.byAddress, address)
	}
}

// over returns how long an address has to wait that has failed too often, without counting another failure; zero: it may
// go on. It is for what is refused unseen then, since it could be guessed or costs somebody else.
func (f *failures) over(remote netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := f.byAddress[clientaddr.Network(remote)].drained(now)
	if count < failuresFree {
		return 0
	}
	return time.Duration((count - failuresFree + 1) * float64(failureDrain))
}

// barred is the answer to an attempt that is refused unseen, nil where it may be made.
func (f *failures) barred(remote netip.Addr, now time.Time) error {
	wait := f.over(remote, now)
	if wait == 0 {
		return nil
	}
	p := problem.New(http.StatusTooManyRequests, problem.Guessing, "Too many attempts from your address failed. Wait a little and try again.")
	p.RetryAfter = wait
	return p
}

// slow counts a refusal and turns it into a 429 where the address has failed too often. What was right is never slowed: a
// correct credential from the same address works all along.
func (f *failures) slow(refused *problem.Error, remote netip.Addr, now time.Time) *problem.Error {
	wait := f.add(remote, now)
	if wait == 0 {
		return refused
	}
	p := problem.New(http.StatusTooManyRequests, problem.Guessing,
		"Too many requests from your address had a wrong credential. Correct the credential; a right one is accepted at once.")
	p.RetryAfter = wait
	return p.Because(refused.Err)
}
