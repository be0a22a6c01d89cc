package main

import (
	"regexp"
	"strings"
	"testing"
)

func TestARowIsJudgedByItsMedianRound(t *testing.T) {
	for _, test := range []struct {
		rounds       []float64
		bar, stretch float64
		want         string
	}{
		{[]float64{1.08, 1.09, 1.10, 1.09, 9}, 1.25, 1.10, "stretch reached"}, // one bad round is not the median
		{[]float64{1.19, 1.20, 1.21}, 1.25, 1.10, "holds"},
		{[]float64{1.25, 1.25, 1.25}, 1.25, 1.10, "holds"},
		{[]float64{1.26, 1.27, 1.28}, 1.25, 1.10, "MISSED"},
		{[]float64{0.9, 1.2, 1.5, 1.1, 1.4}, 1.25, 1.10, "not judged: spread 25 %"},
		{[]float64{0.5, 0.7, 1.0, 0.8, 1.1}, 1.25, 1.10, "stretch reached"}, // whatever the spread, all agree
		{[]float64{0.5, 0.8, 1.2, 0.6, 1.2}, 1.25, 1.10, "holds"},
		{[]float64{1.3, 1.8, 2.2, 1.4, 1.9}, 1.25, 1.10, "MISSED"},
		{[]float64{0.9, 1.2, 1.5}, 0, 0, "for information"},
		{nil, 1.25, 1.10, "not judged: spread 0 %"},
	} {
		if got := newRow("", "", "×", test.rounds, test.bar, test.stretch).Verdict; got != test.want {
			t.Errorf("newRow(%v, bar %v, stretch %v) is %q, want %q", test.rounds, test.bar, test.stretch, got, test.want)
		}
	}
}

func TestMiddle(t *testing.T) {
	for _, test := range []struct {
		values         []float64
		median, spread float64
	}{
		{nil, 0, 0},
		{[]float64{3}, 3, 0},
		{[]float64{5, 1, 3, 2, 4}, 3, 2.0 / 3},
		{[]float64{1, 3}, 2, 0.5},
	} {
		if median, spread := middle(test.values); median != test.median || spread != test.spread {
			t.Errorf("middle(%v) = %v, %v, want %v, %v", test.values, median, spread, test.median, test.spread)
		}
	}
}

func TestTheReportSaysWhatWasMissed(t *testing.T) {
	r := newReport(options{rounds: 3, only: regexp.MustCompile("")})
	r.add(newRow("cached read", "net/http handler", "×", []float64{1.4, 1.4, 1.4}, 1.25, 1.1))
	var text strings.Builder
	r.print(&text)
	if want := "| cached read | 1.40 × | net/http handler | 1.25 × | 1.10 × | ±0 % | MISSED |"; !strings.Contains(text.String(), want) {
		t.Errorf("the report lacks %q:\n%s", want, &text)
	}
}
