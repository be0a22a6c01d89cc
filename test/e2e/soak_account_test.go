package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"corp.example/gateway/internal/audit"
)

// account compares what the clients saw with what the audit logs say and with what came upstream.
func (s *soak) account() {
	s.t.Helper()
	time.Sleep(2 * time.Second) // the last reads' records leave the gateways' memory within one
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, fault := range s.wrong {
		if i == 10 {
			s.t.Errorf("and %d more", len(s.wrong)-i)
			break
		}
		s.t.Error(fault)
	}
	intents, writesLogged := map[string]bool{}, 0
	outcomes := make([]map[string][]int, len(s.replicas))
	for i, g := range s.replicas {
		outcomes[i] = map[string][]int{}
		for _, record := range g.AllAudit() {
			if record.Phase == audit.Outcome {
				outcomes[i][record.RequestID] = append(outcomes[i][record.RequestID], record.Status)
			} else {
				intents[record.RequestID] = true
				writesLogged++
			}
		}
	}
	unaccounted := 0
	for _, one := range s.seen {
		found := outcomes[one.replica][one.requestID]
		// A read's record stays in memory for up to a second, which a kill takes away. A write's intent never does: where the
		// outcome is taken away, which goes to the disk as the answer goes out, the next start closes it as unknown.
		unknown := one.marker != "" && slices.Equal(found, []int{0})
		excused := (len(found) == 0 || unknown) && s.nearKill(one)
		if !excused && (len(found) != 1 || found[0] != one.status) {
			unaccounted++
			if unaccounted <= 5 {
				s.t.Errorf("request %s of replica %d was answered %d at %v; its outcomes in the audit log: %v", one.requestID, one.replica, one.status, one.at, found)
			}
		}
		if one.marker != "" {
			s.accountWrite(one, intents[one.requestID])
		}
	}
	if unaccounted > 0 {
		s.t.Errorf("%d of %d answers are not in the audit log as they were", unaccounted, len(s.seen))
	}
	s.upstream.mu.Lock()
	defer s.upstream.mu.Unlock()
	if came := len(s.upstream.writes); came > writesLogged {
		s.t.Errorf("%d writes came upstream, and %d intents are recorded", came, writesLogged)
	}
	s.intents = writesLogged
	s.t.Logf("%d answers, %d cut off by a kill, %d requests upstream, %d writes; faults: %v", len(s.seen), s.lost, s.upstream.requests.Load(), len(s.upstream.writes), s.faults)
}

// nearKill reports whether the replica that gave an answer was killed so soon after it that its record may be lost: a read's
// is written within a second, on a machine that has the time.
func (s *soak) nearKill(one seen) bool {
	for _, kill := range s.kills[one.replica] {
		if one.at.After(kill.from.Add(-2*time.Second)) && one.at.Before(kill.to) {
			return true
		}
	}
	return false
}

// accountWrite checks that a write was recorded before it went, and performed once at most.
func (s *soak) accountWrite(one seen, intent bool) {
	s.upstream.mu.Lock()
	came := s.upstream.writes[one.marker]
	s.upstream.mu.Unlock()
	switch {
	case came != (arrivals{}) && !intent:
		s.t.Errorf("write %s went upstream without a recorded intent", one.marker)
	case came.performed+came.failed > 1:
		s.t.Errorf("write %s went upstream again though its fate was not a 429: %+v", one.marker, came)
	case one.status == http.StatusCreated && came.performed != 1:
		s.t.Errorf("write %s was answered 201 and came upstream as %+v", one.marker, came)
	}
}

// footprint is what the first replica, which nobody kills, holds.
type footprint struct {
	goroutines, descriptors int
	live, resident          int64
}

func (f footprint) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d MiB live, %d resident", f.goroutines, f.descriptors, f.live>>20, f.resident>>20)
}

var inTotal = regexp.MustCompile(`total (\d+)`)

// atRest is the footprint once the clients have left.
func (s *soak) atRest() footprint {
	s.t.Helper()
	patient.CloseIdleConnections()
	time.Sleep(500 * time.Millisecond) // the server notices closed connections
	return s.footprint()
}

func (s *soak) footprint() footprint {
	s.t.Helper()
	g := s.replicas[0]
	response, err := http.Get(g.AdminURL + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var f footprint
	if found := inTotal.FindSubmatch(text); found != nil {
		f.goroutines, _ = strconv.Atoi(string(found[1]))
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.PID()))
	if err != nil {
		s.t.Fatal(err)
	}
	f.descriptors = len(open)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		s.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kibibytes, _ := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	f.resident = kibibytes << 10
	collected, err := http.Get(g.AdminURL + "/debug/pprof/heap?gc=1")
	if err != nil {
		s.t.Fatal(err)
	}
	collected.Body.Close()
	f.live = int64(metric(s.t, g, "go_memstats_heap_alloc_bytes"))
	return f
}

// checkLeaks allows for what a pool may keep: some connections and what belongs to each, and a cache that has seen load. What is
// resident beside it is garbage, of which the collector lets 64 MiB come, and five times that under the race detector.
func (s *soak) checkLeaks(before, after footprint) {
	if after.goroutines > before.goroutines+60 {
		s.t.Errorf("%d goroutines at the end, %d at the start", after.goroutines, before.goroutines)
	}
	if after.descriptors > before.descriptors+30 {
		s.t.Errorf("%d descriptors at the end, %d at the start", after.descriptors, before.descriptors)
	}
	if after.live > before.live+50<<20 {
		s.t.Errorf("%d MiB live at the end, %d at the start", after.live>>20, before.live>>20)
	}
	if limit := before.resident*2 + 400<<20; after.resident > limit {
		s.t.Errorf("%d MiB resident at the end, %d at the start", after.resident>>20, before.resident>>20)
	}
}
