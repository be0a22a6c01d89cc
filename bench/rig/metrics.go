package rig

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// Told is the number that the first group of a pattern finds in the answer to a GET request.
func Told(url string, pattern *regexp.Regexp) (float64, error) {
	answer, err := http.Get(url)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	found := pattern.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s does not tell %s", url, pattern)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// AwaitTold waits until the number is n.
func AwaitTold(url string, pattern *regexp.Regexp, n int) error {
	const patience = 30 * time.Second
	var last float64
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // to tell costs the server, too
		var err error
		if last, err = Told(url, pattern); err != nil {
			return err
		}
		if int(last) == n {
			return nil
		}
	}
	return fmt.Errorf("%s tells %v for %s after %v, not %d", url, last, pattern, patience, n)
}

var queued = regexp.MustCompile(`(?m)^gateway_queue_depth\{class="default"\} (\S+)$`)

// AwaitQueued waits until so many requests wait in the gateway's queues.
func (g *Gateway) AwaitQueued(n int) error { return AwaitTold("http://"+g.Admin+"/metrics", queued, n) }
