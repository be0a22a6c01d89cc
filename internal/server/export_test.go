package server

import (
	"log/slog"
	"net/http"
	"time"
)

// LimitBody is the body limit with a pause that a test can wait for.
func LimitBody(next http.Handler, maxBytes int64, idle time.Duration) http.Handler {
	return limitBody(next, maxBytes, idle)
}

// NewHTTPServer is the http.Server of both listeners.
var NewHTTPServer = newHTTPServer

// Reload reads the certificate's files as Watch does.
func (c *Certificate) Reload() error { return c.reload() }

// Recover is the recovery with a time for answers to be taken that a test can wait for.
func Recover(next http.Handler, log *slog.Logger, takeIdle time.Duration) http.Handler {
	return recoverWithin(next, log, takeIdle)
}
