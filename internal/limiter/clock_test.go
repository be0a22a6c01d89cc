package limiter

import (
	"testing"
	"time"
)

// Redis's clock was set where it went further between two readings than this machine's, or less far, than the time the
// readings took and drift explain.
func TestAClockThatWasSet(t *testing.T) {
	reading := func(told, sent, received float64) clock { return clock{at(told), at(sent), at(received)} }
	for name, test := range map[string]struct {
		first, second clock
		by            time.Duration // zero: it was not set
	}{
		"it went on":                         {reading(1000, 0, 0), reading(1001, 1, 1), 0},
		"the first was long under way":       {reading(1000, 0, 5), reading(1005.5, 6, 6), 0},
		"the second was long under way":      {reading(1000, 0, 0), reading(1001, 1, 8), 0},
		"it drifted for an hour":             {reading(1000, 0, 0), reading(4597, 3600, 3600), 0},
		"it was set ahead":                   {reading(1000, 0, 0), reading(1061, 1, 1), time.Minute},
		"it was set back":                    {reading(1000, 0, 0), reading(941, 1, 1), -time.Minute},
		"it was set a little":                {reading(1000, 0, 0), reading(1001.1, 1, 1), 100 * time.Millisecond},
		"it was set, and long in telling it": {reading(1000, 0, 0), reading(1003, 1, 2), 1500 * time.Millisecond},
		"nothing was told before":            {clock{}, reading(1000, 1, 1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.first.stepped(&test.second); got != (test.by != 0) {
				t.Errorf("set: %v, want %v", got, test.by != 0)
			}
			if test.first.told.IsZero() {
				return
			}
			by, off := test.first.shift(&test.second)
			if by != test.by {
				t.Errorf("set by %s, want %s", by, test.by)
			}
			if least := (test.second.received.Sub(test.first.sent) - test.second.sent.Sub(test.first.received)) / 2; by != 0 && off < least {
				t.Errorf("give or take %s, want at least %s", off, least)
			}
		})
	}
}
