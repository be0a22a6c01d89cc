package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// point is one place of a line: what all its turns measured, ascending.
type point struct {
	x     float64
	turns []float64
}

// at is the value below which so much of the turns lie.
func (p point) at(part float64) float64 {
	position := part * float64(len(p.turns)-1)
	below, above := int(math.Floor(position)), int(math.Ceil(position))
	return p.turns[below] + (p.turns[above]-p.turns[below])*(position-float64(below))
}

func (p point) median() float64 { return p.at(0.5) }

// claim is how cost is said to grow.
type claim struct {
	word string
	most string                               // what that allows, in words
	bear func(line []point, at point) float64 // the most that a point may cost
}

// tolerance is what passes as no growth: what the processor's caches take, and what the machine does beside.
const tolerance = 0.25

var (
	flat = claim{"flat", "no point is more than a quarter over the first",
		func(line []point, _ point) float64 { return (1 + tolerance) * line[0].median() }}
	logarithmic = claim{"logarithmic", "each ten times as many cost no more than a quarter of the first point",
		func(line []point, at point) float64 {
			return (1 + tolerance*max(1, math.Log10(at.x/line[0].x))) * line[0].median()
		}}
	// What does not fit the kernel's buffers or the processor's caches costs more for each byte: hence twice the tolerance.
	linear = claim{"linear", "no point is more than half over the straight line from the first through the one before",
		func(line []point, at point) float64 { return (1 + 2*tolerance) * straight(line, at) }}
)

// straight is where the line from the first point through the one before at leads; the second may lie anywhere.
func straight(line []point, at point) float64 {
	i := slices.IndexFunc(line, func(p point) bool { return p.x == at.x })
	if i < 2 {
		return math.Inf(1)
	}
	from, by := line[0], line[i-1]
	return from.median() + max(0, by.median()-from.median())*(at.x-from.x)/(by.x-from.x)
}

// holds reports whether every point of the lines bears the claim out.
func (c claim) holds(lines map[string][]point) bool {
	for _, line := range lines {
		for _, at := range line {
			if at.median() > c.bear(line, at) {
				return false
			}
		}
	}
	return true
}

// verdict says what is claimed and whether it holds.
func (p *plot) verdict() string {
	if p.claim.holds(p.lines) {
		return p.claim.word
	}
	return "not " + p.claim.word
}

// rows are the plot's part of the table.
func (p *plot) rows() string {
	var b strings.Builder
	for _, name := range p.names {
		for i, at := range p.lines[name] {
			what, verdict := "", ""
			if i == 0 {
				what, verdict = p.title+": "+name, p.verdict()
			}
			fmt.Fprintf(&b, "| %s | %s %s | %.1f | %.1f to %.1f | %.2f × | %s |\n", what, thousands(int(at.x)), p.across, at.median(), at.at(0.25), at.at(0.75),
				at.median()/p.lines[name][0].median(), verdict)
		}
	}
	return b.String()
}

// table is everything that was measured, and how.
func table(o options, all []*plot) string {
	var b strings.Builder
	load, _ := os.ReadFile("/proc/loadavg") // what is missing is not shown
	fmt.Fprintf(&b, "# As things become many\n\n`make growth GROWTH='-turn %v -turns %d'`, %s; load average at the end: %s\n\n", o.turn, o.turns,
		time.Now().UTC().Format(time.DateTime), strings.Join(strings.Fields(string(load))[:min(1, len(load))], ""))
	b.WriteString("Processor time of one request in µs: the median turn, the middle half of the turns, and the ratio to the first point.\n\n")
	b.WriteString("| what | of | µs | half of the turns | to the first | |\n|---|---|---|---|---|---|\n")
	var claims []claim
	for _, p := range all {
		b.WriteString(p.rows())
		if !slices.ContainsFunc(claims, func(c claim) bool { return c.word == p.claim.word }) {
			claims = append(claims, p.claim)
		}
	}
	b.WriteString("\n")
	for _, c := range claims {
		fmt.Fprintf(&b, "- %s: %s.\n", c.word, c.most)
	}
	return b.String()
}
