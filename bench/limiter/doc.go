// Package limiter measures the limiter against what it promises, and two well-known ways to limit in its place: three
// replicas before one upstream whose windows begin with their first request. Time is simulated; the limiter is the one of
// production, with its script in a real Redis that is told the time.
package limiter
