package backplane

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/redis/go-redis/v9"
)

// newClient makes the client that the options ask for. It dials once for a try: five times, the default, would be five
// time-outs, and where somebody refuses to listen he will not do otherwise a moment later.
func newClient(options *redis.UniversalOptions) redis.UniversalClient {
	switch {
	case options.IsClusterMode:
		cluster := options.Cluster()
		cluster.DialerRetries = 1
		cluster.MaxRetries = -1  // not for each of the redirects
		cluster.MaxRedirects = 2 // to where a slot went, and one more while it is on its way; a lost node counts as well
		return redis.NewClusterClient(cluster)
	case options.MasterName != "":
		failover := options.Failover()
		failover.DialerRetries = 1
		return redis.NewFailoverClient(failover)
	}
	single := options.Simple()
	single.DialerRetries = 1
	return redis.NewClient(single)
}

// clientLog takes what the client library would print on standard error. All of it is at debug: what matters comes back as
// the error of a command, or from the breaker.
type clientLog struct{ log *slog.Logger }

// Printf implements the library's logger.
func (l clientLog) Printf(ctx context.Context, format string, args ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, args...))
	}
}

// logOnce guards the library's logger, which is the process's and may be set only before it is used. Whoever opens first, sets it.
var logOnce sync.Once
