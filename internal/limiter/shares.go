package limiter

import "time"

const (
	// lateShare is the part of a window, one in lateShare, that a team which has had its fair share gets only bit by
	// bit. A team that comes late then finds room in the same window; without it, the first burst would take everything
	// and a light team beside a saturating one would wait for the next window each time.
	lateShare = 10

	// The kept part shrinks to nothing over lateNum/lateDen of the window, so that all of it is spent before the end.
	lateNum, lateDen = 8, 10
)

// use is what one team has had of a window.
type use struct{ n, weight int }

// shares is who has had how much of a window. Like the window it only computes.
type shares struct {
	teams  map[string]use
	weight int // of all teams
}

// reset begins a new window.
func (s *shares) reset() {
	clear(s.teams)
	s.weight = 0
}

// add notes n more requests of a team, or fewer where n is negative.
func (s *shares) add(team string, weight, n int) {
	u, known := s.teams[team]
	if !known {
		if s.teams == nil {
			s.teams = map[string]use{}
		}
		s.weight += weight
		u.weight = weight
	}
	u.n = max(0, u.n+n)
	s.teams[team] = u
}

// satisfied reports whether the team has had its fair share of a window of n requests: what its weight earns beside
// all teams of this window and one more like itself, which may still come.
func (s *shares) satisfied(team string, weight, n int) bool {
	u, known := s.teams[team]
	total := s.weight + weight
	if !known {
		total += weight
	}
	return u.n*total >= n*weight
}

// reserved returns how many requests of a window of n are kept from the team for others by configuration, given how
// many outsiders have spent already.
func (s *shares) reserved(reserve []Reserve, team string, n, others int) int {
	kept := 0
	for _, r := range reserve {
		switch share := int(r.Share * float64(n)); {
		case r.Team == "":
			kept += max(0, share-others)
		case r.Team != team:
			kept += max(0, share-s.teams[r.Team].n)
		}
	}
	return kept
}

// keptLate returns how many requests of a window of n, begun at start, a satisfied team must leave for others at now.
func keptLate(now, start time.Time, period time.Duration, n int) int {
	part, over := n/lateShare, period*lateNum/lateDen
	left := over - now.Sub(start)
	if part == 0 || left <= 0 {
		return 0
	}
	// Rounded up, so that none is free before releasedAt says so.
	return min(part, int((time.Duration(part)*left+over-1)/over))
}

// releasedAt returns when keptLate falls to kept.
func releasedAt(start time.Time, period time.Duration, n, kept int) time.Time {
	part, over := n/lateShare, period*lateNum/lateDen
	return start.Add(over - time.Duration(kept)*over/time.Duration(part))
}
