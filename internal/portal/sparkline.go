package portal

import (
	"fmt"
	"math"
	"slices"
)

// The sparkline's measures, in the units of its viewBox.
const (
	sparkStep   = 5 // from one bar to the next
	sparkBar    = 4 // a bar's width
	sparkHeight = 30
)

// sparkline is a row of bars, one for each minute, and what they say in words.
type sparkline struct {
	Width, Height int
	Bars          []sparkBarAt
	Text          string
}

type sparkBarAt struct{ X, Y, Width, Height int }

// Sparkline draws the waits of the last minutes; nil: nobody waited.
func (b bucket) Sparkline() *sparkline {
	longest := 0.0
	if len(b.Waits) > 0 {
		longest = slices.Max(b.Waits)
	}
	if longest <= 0 {
		return nil
	}
	drawn := &sparkline{Width: len(b.Waits) * sparkStep, Height: sparkHeight,
		Text: fmt.Sprintf("Longest wait in the last %s: %s.", count(len(b.Waits), "minute"), seconds(longest))}
	for i, wait := range b.Waits {
		if wait > 0 {
			height := max(1, int(math.Round(wait/longest*sparkHeight))) // the shortest wait is still one
			drawn.Bars = append(drawn.Bars, sparkBarAt{i * sparkStep, sparkHeight - height, sparkBar, height})
		}
	}
	return drawn
}

// maxWaitingListed is how many waiting requests the page names below a bucket.
const maxWaitingListed = 10

// First are the waiting requests that the page names.
func (b bucket) First() []waiting { return b.Queue[:min(len(b.Queue), maxWaitingListed)] }

// Rest counts the others of the visitor's own.
func (b bucket) Rest() int {
	own := -len(b.First())
	for _, n := range b.Waiting {
		own += n
	}
	return max(0, own)
}
