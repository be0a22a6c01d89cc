package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAPlotIsWellFormedAndShowsEveryPoint(t *testing.T) {
	p := &plot{title: "A list & its parts", across: "projects", claim: linear}
	for _, x := range []float64{10, 100, 1000} {
		for _, noise := range []float64{3, 1, 0.9} { // the median turn is x/7
			p.add("narrowed", x, noise*x/7)
			p.add("plain", x, noise*x/9)
		}
	}
	text := p.svg()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
	}
	for _, want := range []string{"A list &amp; its parts: linear<", ">142.9<", ">111.1<", ">1,000<", ">narrowed<", ">plain<"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plot lacks %q:\n%s", want, text)
		}
	}
	if want := "|  | 1,000 projects | 142.9 | 135.7 to 285.7 | 100.00 × |  |"; !strings.Contains(p.rows(), want) {
		t.Errorf("the table lacks %q:\n%s", want, p.rows())
	}
}

func TestAClaimIsJudgedByEveryPoint(t *testing.T) {
	for _, test := range []struct {
		claim claim
		costs []float64 // at 10, 100, 1000
		want  string
	}{
		{flat, []float64{20, 18, 24.9}, "flat"},
		{flat, []float64{20, 25.1, 20}, "not flat"},
		{logarithmic, []float64{20, 25, 30}, "logarithmic"},
		{logarithmic, []float64{20, 25, 30.1}, "not logarithmic"},
		{linear, []float64{20, 38, 327}, "linear"}, // half over the line, which leads to 218
		{linear, []float64{20, 38, 328}, "not linear"},
	} {
		p := &plot{claim: test.claim}
		for i, x := range []float64{10, 100, 1000} {
			p.add("a read", x, test.costs[i])
		}
		if got := p.verdict(); got != test.want {
			t.Errorf("%v is %q, want %q", test.costs, got, test.want)
		}
	}
}
