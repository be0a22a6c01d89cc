package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// plot is a picture of lines over a logarithmic axis; where it spans less than a factor of ten the axis is linear.
type plot struct {
	title, across string
	names         []string
	lines         map[string][]point
}

type point struct{ x, y float64 }

func (p *plot) add(x float64, values []value) {
	if p.lines == nil {
		p.lines = map[string][]point{}
	}
	for _, v := range values {
		if !slices.Contains(p.names, v.line) {
			p.names = append(p.names, v.line)
		}
		p.lines[v.line] = append(p.lines[v.line], point{x, v.micros})
	}
}

// The picture, in pixels.
const (
	width, height            = 640, 320
	left, right, top, bottom = 70, 20, 50, 50
)

var colours = []string{"#2563a8", "#b45309"}

// svg draws it. Every point has its value beside it, so that the picture can be read without measuring.
func (p *plot) svg() string {
	low, high, most := math.Inf(1), 0.0, 0.0
	for _, line := range p.lines {
		for _, at := range line {
			low, high, most = min(low, at.x), max(high, at.x), max(most, at.y)
		}
	}
	most *= 1.25
	x := func(v float64) float64 {
		if high < 10*low {
			return left + (v-low)/max(high-low, 1)*(width-left-right)
		}
		return left + math.Log(v/low)/math.Log(high/low)*(width-left-right)
	}
	y := func(v float64) float64 { return height - bottom - v/most*(height-top-bottom) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" role="img">`+"\n", width, height)
	fmt.Fprintf(&b, `<title>%[1]s</title><rect width="%[2]d" height="%[3]d" fill="#fff"/><text x="%[4]d" y="24" font-size="15">%[1]s</text>`+"\n", html.EscapeString(p.title), width, height, left)
	fmt.Fprintf(&b, `<path d="M%d %dV%dH%d" fill="none" stroke="#444"/><text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n",
		left, top, height-bottom, width-right, (left+width-right)/2, height-12, html.EscapeString(p.across))
	fmt.Fprintf(&b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">µs of CPU for one request</text>`+"\n", (top+height-bottom)/2)
	for i := range 5 {
		v := most * float64(i) / 4
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n", left, y(v), width-right, left-6, y(v)+4, v)
	}
	for n, name := range p.names {
		colour := colours[n%len(colours)]
		var path []string
		for _, at := range p.lines[name] {
			path = append(path, fmt.Sprintf("%.1f %.1f", x(at.x), y(at.y)))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/><text x="%.1f" y="%.1f" text-anchor="middle" fill="%s">%.1f</text>`+"\n",
				x(at.x), y(at.y), colour, min(max(x(at.x), left+14), width-right-10), y(at.y)-8+float64(n*24), colour, at.y)
			if n == 0 {
				fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", x(at.x), height-bottom+16, at.x)
			}
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%d" fill="%s">%s</text>`+"\n",
			strings.Join(path, " "), colour, left+8+n*150, top-8, colour, html.EscapeString(name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
