package backplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrAway says that Redis is known not to answer, so that the command was not tried.
var ErrAway = errors.New("redis is away")

// How often Redis is looked after. While it answers, a ping a second tells a readiness probe about an outage that no
// request has met. While it is away, four a second bring it back soon and are no load for a server that struggles.
const (
	pingEvery      = time.Second
	pingEveryAway  = 250 * time.Millisecond
	failuresToOpen = 3 // in a row: one can be a connection that died idle
)

// notServing begins the replies of a Redis that is there and cannot serve: starting, failing over, without a majority.
var notServing = []string{"LOADING ", "READONLY ", "CLUSTERDOWN ", "MASTERDOWN ", "TRYAGAIN ", "NOREPLICAS ", "UNBLOCKED "}

// Away reports whether err means that Redis cannot serve now, as opposed to a command it refuses or a value it lacks.
func Away(err error) bool {
	var reply redis.Error
	switch {
	case err == nil, errors.Is(err, redis.Nil), errors.Is(err, context.Canceled):
		return false
	case errors.Is(err, ErrAway):
		return true
	case errors.As(err, &reply):
		for _, prefix := range notServing {
			if strings.HasPrefix(reply.Error(), prefix) {
				return true
			}
		}
		return false
	}
	return true
}

// breaker is a go-redis hook around every command. It opens after failures in a row and is closed again by its own pings
// alone: no caller's command is spent on finding out.
type breaker struct {
	log      *slog.Logger
	failures atomic.Int32
	open     atomic.Pointer[error] // why; nil while Redis answers
}

func (b *breaker) healthy() error {
	if cause := b.open.Load(); cause != nil {
		return fmt.Errorf("%w: %w", ErrAway, *cause)
	}
	return nil
}

// report takes the result of a command into account.
func (b *breaker) report(err error) {
	if errors.Is(err, context.Canceled) {
		return // says nothing of Redis
	}
	if !Away(err) {
		b.failures.Store(0)
		return
	}
	if b.failures.Add(1) >= failuresToOpen && b.open.CompareAndSwap(nil, &err) {
		b.log.Error("redis does not answer", "error", err)
	}
}

// probing marks the breaker's own commands, which pass while it is open.
type probing struct{}

// watch looks after Redis until ctx ends.
func (b *breaker) watch(ctx context.Context, client redis.UniversalClient) {
	for {
		pause := pingEvery
		if b.open.Load() != nil {
			pause = pingEveryAway
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		bounded, cancel := context.WithTimeout(context.WithValue(ctx, probing{}, true), dialTimeout+commandTimeout)
		err := probe(bounded, client)
		cancel()
		if ctx.Err() != nil {
			return
		}
		b.report(err)
		if !Away(err) && b.open.Swap(nil) != nil {
			b.log.Info("redis answers again")
		}
	}
}

// probe finds out whether Redis can serve. Any node of a Cluster answers a ping whatever has become of the others, so there
// each master is asked whether the cluster works. ForEachMaster looks first who the masters are: that finds the successor of
// one that is lost, for which the client by itself looks every ten seconds.
func probe(ctx context.Context, client redis.UniversalClient) error {
	cluster, is := client.(*redis.ClusterClient)
	if !is {
		return client.Ping(ctx).Err()
	}
	return cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		info, err := master.ClusterInfo(ctx).Result()
		if err == nil && !strings.Contains(info, "cluster_state:ok") {
			err = errors.New("a node of the cluster says that the cluster does not work")
		}
		return err
	})
}

func (b *breaker) check(ctx context.Context) error {
	if b.open.Load() == nil || ctx.Value(probing{}) != nil {
		return nil
	}
	return ErrAway
}

// result reports that of a command, unless it is a probe, whose whole result is reported.
func (b *breaker) result(ctx context.Context, err error) {
	if ctx.Value(probing{}) == nil {
		b.report(err)
	}
}

// DialHook implements redis.Hook. Dialling is part of a command, whose result is reported.
func (b *breaker) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (b *breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := b.check(ctx); err != nil {
			cmd.SetErr(err)
			return err
		}
		err := next(ctx, cmd)
		b.result(ctx, err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (b *breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := b.check(ctx); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		err := next(ctx, cmds)
		b.result(ctx, err)
		return err
	}
}
