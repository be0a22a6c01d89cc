package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// plot is a picture of lines over a logarithmic axis, or over a plain one where growth is said to be linear.
type plot struct {
	title, across string
	claim         claim
	names         []string
	lines         map[string][]point
}

// add takes in what one turn measured of a line at x.
func (p *plot) add(name string, x, micros float64) {
	if p.lines == nil {
		p.lines = map[string][]point{}
	}
	if !slices.Contains(p.names, name) {
		p.names = append(p.names, name)
	}
	i := slices.IndexFunc(p.lines[name], func(at point) bool { return at.x == x })
	if i < 0 {
		i = len(p.lines[name])
		p.lines[name] = append(p.lines[name], point{x: x})
	}
	at := &p.lines[name][i]
	at.turns = append(at.turns, micros)
	slices.Sort(at.turns)
}

// The picture, in pixels.
const (
	width, height            = 640, 340
	left, right, top, bottom = 70, 24, 76, 50
)

var colours = []string{"#2563a8", "#b45309"}

// frame is where values are in the picture.
type frame struct {
	low, high, most float64
	plain           bool // the axis is not logarithmic
}

func (p *plot) frame() frame {
	f := frame{low: math.Inf(1), plain: p.claim.word == linear.word}
	for _, line := range p.lines {
		for _, at := range line {
			f.low, f.high, f.most = min(f.low, at.x), max(f.high, at.x), max(f.most, at.at(0.75))
		}
	}
	f.most = round(f.most * 1.2)
	return f
}

// round is the next value whose quarters are good to read.
func round(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10} {
		if step*unit >= v {
			return step * unit
		}
	}
	return v
}

func (f frame) x(v float64) float64 {
	part := (v - f.low) / max(f.high-f.low, 1)
	if !f.plain {
		part = math.Log(v/f.low) / math.Log(f.high/f.low)
	}
	return left + 20 + part*(width-left-right-40)
}

func (f frame) y(v float64) float64 { return height - bottom - v/f.most*(height-top-bottom) }

// svg draws it. Every point has its value beside it, so that the picture can be read without measuring, and a bar over the
// middle half of its turns.
func (p *plot) svg() string {
	var b strings.Builder
	f := p.frame()
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" role="img">`+"\n", width, height)
	fmt.Fprintf(&b, `<title>%[1]s</title><rect width="%[2]d" height="%[3]d" fill="#fff"/><text x="%[4]d" y="24" font-size="15">%[1]s: %[5]s</text>`+"\n",
		html.EscapeString(p.title), width, height, left, p.verdict())
	fmt.Fprintf(&b, `<path d="M%d %dV%dH%d" fill="none" stroke="#444"/><text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n",
		left, top, height-bottom, width-right, (left+width-right)/2, height-12, html.EscapeString(p.across))
	fmt.Fprintf(&b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">µs of CPU for one request</text>`+"\n", (top+height-bottom)/2)
	for i := range 5 {
		v := f.most * float64(i) / 4
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`+"\n", left, f.y(v), width-right, left-6, f.y(v)+4, v)
	}
	for n, name := range p.names {
		p.line(&b, f, n, name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// line draws the n-th line and its name above the picture.
func (p *plot) line(b *strings.Builder, f frame, n int, name string) {
	colour := colours[n%len(colours)]
	above := []float64{-9, 18}[n%2] // two lines that run together do not write over each other
	var path []string
	for _, at := range p.lines[name] {
		x, y := f.x(at.x), f.y(at.median())
		path = append(path, fmt.Sprintf("%.1f %.1f", x, y))
		fmt.Fprintf(b, `<path d="M%.1[1]f %.1[2]fV%.1[3]f" stroke="%[4]s" stroke-width="5" stroke-opacity=".3"/>`, x, f.y(at.at(0.25)), f.y(at.at(0.75)), colour)
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/><text x="%.1f" y="%.1f" text-anchor="middle" fill="%[3]s">%.1[6]f</text>`+"\n",
			x, y, colour, x, y+above, at.median())
		if n == 0 {
			fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x, height-bottom+17, thousands(int(at.x)))
		}
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%d" fill="%[2]s">%[5]s</text>`+"\n",
		strings.Join(path, " "), colour, left+8+n*150, 50, html.EscapeString(name))
}

// thousands writes a number with commas.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
