package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

func TestAGatewayThatDoesNotAnswerItselfIsNotSaidToBeAlive(t *testing.T) {
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	t.Setenv("NOTIFY_SOCKET", told.LocalAddr().String())
	const sick = 3
	var asked atomic.Int64
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) <= sick {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer admin.Close()

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		(&gateway{log: slog.New(slog.DiscardHandler)}).sayAlive(ctx, time.Millisecond, admin.URL)
	}()
	message := make([]byte, 64)
	n, err := told.Read(message)
	if times := asked.Load(); err != nil || string(message[:n]) != "WATCHDOG=1" || times <= sick {
		t.Errorf("after %d questions, %d of them answered badly, it told %q, %v", times, sick, message[:n], err)
	}
	cancel()
	<-ended
}
