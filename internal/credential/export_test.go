package credential

import (
	"context"
	"log/slog"
)

// Foresee warns of the end of the first credential's token. Watch does so too, and reads a file every other second.
func (s *Set) Foresee(ctx context.Context, log *slog.Logger) { s.narrowestFirst[0].foresee(ctx, log) }
