package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"corp.example/gateway/internal/state"
)

// Report is what a running gateway noticed of a credential last.
type Report struct {
	Healthy bool      `json:"healthy"`
	Fault   string    `json:"fault,omitempty"`
	At      time.Time `json:"at"`
}

// Record keeps what this process notices of every credential in the store, until ctx ends: "gateway credential list"
// reads it there. Of several replicas the last that noticed something is believed.
func (s *Set) Record(ctx context.Context, store state.Store, log *slog.Logger) {
	var recorders sync.WaitGroup
	for _, c := range s.narrowestFirst {
		recorders.Go(func() {
			for {
				var again <-chan time.Time
				if err := c.record(ctx, store); err != nil && ctx.Err() == nil {
					log.Warn("credential's health is not recorded", "credential", c.Name(), "error", err)
					again = time.After(longestPause)
				}
				select {
				case <-ctx.Done():
					return
				case <-c.recheck:
				case <-again:
				}
			}
		})
	}
	recorders.Wait()
}

func (c *Credential) record(ctx context.Context, store state.Store) error {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	report, err := json.Marshal(Report{Healthy: c.Healthy(), Fault: c.Fault(), At: time.Now().UTC()})
	if err != nil {
		return err
	}
	return store.Put(ctx, healthTable, c.Name(), report, time.Time{})
}

// LastReport reads what a gateway noticed of the named credential last; none where it never ran.
func LastReport(ctx context.Context, store state.Store, name string) (report Report, found bool, err error) {
	data, err := store.Get(ctx, healthTable, name)
	if errors.Is(err, state.ErrNotFound) {
		return Report{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &report)
	}
	if err != nil {
		return Report{}, false, fmt.Errorf("reading the health of credential %s: %w", name, err)
	}
	return report, true, nil
}

// Close waits for renewals that are under way: what upstream rotated must be stored before the store closes.
func (s *Set) Close() {
	for _, c := range s.narrowestFirst {
		c.mu.Lock()
		f := c.flight
		c.mu.Unlock()
		if f != nil {
			<-f.done
		}
		if unsaved := c.notStored(); unsaved != nil {
			c.store(context.Background(), unsaved)
		}
	}
}
