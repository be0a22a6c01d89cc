package limiter_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
)

// Every fault is reported, each by its key.
func TestValidate(t *testing.T) {
	if err := (limiter.Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	err := limiter.Config{
		Granularity: "project", Headroom: -1, MaxWait: -time.Second, QueuePerTeam: -1, QueuePerBucket: -1, Scopes: -1,
		Reserve: []limiter.Reserve{{Team: "a", Share: 0.5}, {Team: "a", Share: 0.5}, {Share: 2}},
		Classes: map[string][]catalog.Limit{"empty": {}, "wrong": {{N: 0, Window: time.Minute}}},
	}.Validate()
	for _, want := range []string{`granularity "project"`, "headroom -1", "max_wait -1s", "queue_per_team -1", "queue_per_bucket -1", "scopes -1",
		`reserve[1].team "a": appears twice`, "reserve[2].share 2", "reserve: the shares add up to 3", "classes.empty", "classes.wrong[0]"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// The operator's limits replace the catalogue's.
func TestLimitsOfAClassAreOverridden(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{Classes: map[string][]catalog.Limit{"small": {{N: 3, Window: time.Hour}}}})
		if limit, left, _ := m.Quota("bot", project, small(9)); limit != 3 || left != 3 {
			t.Errorf("%d of %d left, want 3 of 3", left, limit)
		}
		fill(t, m, smallAsk(9, "a", false), 3)
		if _, err := m.Acquire(t.Context(), smallAsk(9, "a", false)); err == nil {
			t.Error("a fourth request was let through")
		}
	})
}

func TestReserve(t *testing.T) {
	for _, test := range []struct {
		name    string
		reserve []limiter.Reserve
		team    string
		at      once
	}{
		{"nothing reserved", nil, "a", 9},
		{"for another team", []limiter.Reserve{{Team: "b", Share: 0.34}}, "a", 6},
		{"for this team", []limiter.Reserve{{Team: "a", Share: 0.34}}, "a", 9},
		{"for outsiders", []limiter.Reserve{{Share: 0.34}}, "a", 6},
		{"for both", []limiter.Reserve{{Share: 0.34}, {Team: "b", Share: 0.34}}, "a", 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			kept(t, func(t *testing.T, open opener) {
				m := open(limiter.Config{MaxWait: time.Hour, Reserve: test.reserve})
				a := smallAsk(9, test.team, false)
				n := once(0)
				for {
					slot := acquire(t, m, a)
					if slot.Waited() > 0 {
						break
					}
					n++
					slot.Learn(200, nil)
				}
				if n != test.at {
					t.Errorf("%d at once, want %d", n, test.at)
				}
			})
		})
	}
}

// What a team gives back unsent it has not had: it stays reserved for it.
func TestUnsentIsReservedAgain(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: time.Hour, Reserve: []limiter.Reserve{{Team: "b", Share: 0.34}}})
		fill(t, m, smallAsk(9, "a", false), 5)
		for range 3 {
			acquire(t, m, smallAsk(9, "b", false)).Unsent()
		}
		fill(t, m, smallAsk(9, "a", false), 1)
		if waited := acquire(t, m, smallAsk(9, "a", false)).Waited(); waited == 0 {
			t.Error("another team got what is reserved")
		}
	})
}

// However much is kept back, every window serves somebody.
func TestNothingKeptBackStopsABucket(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: time.Hour, Headroom: 20, Reserve: []limiter.Reserve{{Share: 0.9}}})
		for i := range 3 {
			slot := acquire(t, m, smallAsk(9, "a", false))
			if slot.Waited() > time.Minute {
				t.Errorf("request %d waited %s, want at most a window", i, slot.Waited())
			}
			slot.Learn(200, nil)
		}
	})
}

// once is how many of 9 requests a minute are served without a wait.
type once int

// Scopes at rest are forgotten, scopes in use are not, and there is an end to both.
func TestScopesAreBounded(t *testing.T) {
	inMemory(t, func(t *testing.T, open opener) { // Redis forgets by itself, and a replica drops its copies
		m := open(limiter.Config{Scopes: 320})
		a := ask("a", 1)
		fillScopes := func(round string) (refused int) {
			for i := range 1000 {
				a.Scope = "project:" + round + strconv.Itoa(i)
				slot, err := m.Acquire(t.Context(), a)
				if err != nil {
					refused++
					continue
				}
				slot.Learn(200, nil)
			}
			return refused
		}
		if refused := fillScopes("first"); refused < 680 {
			t.Errorf("%d scopes at a time, want at most 320", 1000-refused)
		}
		time.Sleep(3 * time.Minute)
		if refused := fillScopes("second"); refused > 750 {
			t.Errorf("%d scopes after the first ones came to rest, want about 320", 1000-refused)
		}
	})
}
