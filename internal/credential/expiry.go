package credential

import (
	"context"
	"log/slog"
	"time"
)

// notices are how long before a token's end it is warned of, each once: time to plan, to act, and to hurry. 0: it is over.
var notices = [...]time.Duration{0, 24 * time.Hour, 3 * 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// foresee warns of the token's end, if its owner says when that is, until ctx ends. It looks at the clock each hour: a
// timer for a month would not notice that the machine slept.
func (c *Credential) foresee(ctx context.Context, log *slog.Logger) {
	if c.config.Expires.IsZero() {
		return
	}
	said := len(notices)
	for tick := time.NewTicker(time.Hour); ; {
		left := time.Until(c.config.Expires)
		for i, within := range notices[:said] {
			if left > within {
				continue
			}
			if said = i; within == 0 {
				log.Error("the credential's token has ended by its configured date: replace it, and its expires date", "expires", c.config.Expires)
			} else {
				log.Warn("the credential's token ends soon: replace it, and its expires date", "expires", c.config.Expires, "days_left", int(left.Hours()/24))
			}
			break
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}
