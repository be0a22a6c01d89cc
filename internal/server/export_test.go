package server

import (
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Follow has the framing of one connection follow its bytes, which come in parts.
func Follow(parts ...string) error {
	var f framing
	for _, part := range parts {
		if _, err := f.follow([]byte(part)); err != nil {
			return err
		}
	}
	return nil
}

// NewFollower returns the framing of one connection that goes on from call to call.
func NewFollower() func([]byte) error {
	var f framing
	return func(data []byte) error {
		_, err := f.follow(data)
		return err
	}
}

// LimitBody is the body limit with a pause that a test can wait for.
func LimitBody(next http.Handler, maxBytes int64, idle time.Duration) http.Handler {
	return limitBody(next, maxBytes, idle)
}

// TakeWithin is how long a client may take nothing.
const TakeWithin = takeWithin

// NewHTTPServer is the http.Server of both listeners.
var NewHTTPServer = newHTTPServer

// Reload reads the certificate's files as Watch does.
func (c *Certificate) Reload() error { return c.reload() }

// Recover is the recovery with a time for answers to be taken that a test can wait for.
func Recover(next http.Handler, log *slog.Logger, takeIdle time.Duration) http.Handler {
	return recoverWithin(next, log, takeIdle)
}

// Strict gives a listener's connections strict framing and whole answers.
func Strict(l net.Listener) net.Listener { return strictListener{l} }

// Chain is what every answer is wrapped in.
func Chain(next http.Handler) http.Handler { return chain(next, slog.New(slog.DiscardHandler), 1<<20) }

// AfterWhole is a connection over which a whole answer has just been written.
func AfterWhole(inner net.Conn) net.Conn { return &strictConn{Conn: inner, answered: true} }
