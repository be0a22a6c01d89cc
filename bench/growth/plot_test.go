package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAPlotIsWellFormedAndShowsEveryPoint(t *testing.T) {
	p := plot{title: "A list & its parts", across: "projects"}
	for _, x := range []float64{10, 100, 1000} {
		p.add(x, []value{{"narrowed", x / 7}, {"plain", x / 9}})
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
	for _, want := range []string{"A list &amp; its parts", ">142.9<", ">111.1<", ">1000<", "narrowed", "plain"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plot lacks %q:\n%s", want, text)
		}
	}
}
