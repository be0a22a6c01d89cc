package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// widest is the spread beyond which a median says nothing: the middle half of the rounds must lie within so much of it. A busy
// neighbour on the machine moves a ratio by more than the bars are apart. Such a row is judged only where all its rounds agree.
const widest = 0.10

// row is one line of the table: a figure against its bar.
type row struct {
	What    string    `json:"what"`
	Value   float64   `json:"value"`             // of the median round: a ratio, or a figure in Unit
	Spread  float64   `json:"spread"`            // of the middle half of the rounds, as a part of the median
	Rounds  []float64 `json:"rounds"`            // all of them, in order
	Unit    string    `json:"unit"`              // "×" for a ratio
	Against string    `json:"against,omitempty"` // what a ratio compares with
	Bar     float64   `json:"bar,omitempty"`     // most that is allowed; 0: for information
	Stretch float64   `json:"stretch,omitempty"` // what is aimed for
	Verdict string    `json:"verdict"`
}

// newRow judges a figure by its rounds.
func newRow(what, against, unit string, rounds []float64, bar, stretch float64) row {
	r := row{What: what, Against: against, Unit: unit, Rounds: rounds, Bar: bar, Stretch: stretch}
	r.Value, r.Spread = middle(rounds)
	within, judged := r.within(bar)
	reached, known := r.within(stretch)
	switch {
	case bar == 0:
		r.Verdict = "for information"
	case stretch > 0 && known && reached:
		r.Verdict = "stretch reached"
	case !judged:
		r.Verdict = fmt.Sprintf("not judged: spread %.0f %%", r.Spread*100)
	case within:
		r.Verdict = "holds"
	default:
		r.Verdict = "MISSED"
	}
	return r
}

// within reports whether the figure is at most limit, and whether that can be said.
func (r *row) within(limit float64) (within, known bool) {
	if len(r.Rounds) == 0 {
		return false, false
	}
	within = r.Value <= limit
	return within, r.Spread <= widest || within && slices.Max(r.Rounds) <= limit || !within && slices.Min(r.Rounds) > limit
}

// middle is the median, and the distance between the quartiles as a part of it.
func middle(values []float64) (median, spread float64) {
	sorted := slices.Sorted(slices.Values(values))
	at := func(part float64) float64 {
		position := part * float64(len(sorted)-1)
		below := int(position)
		above := min(below+1, len(sorted)-1)
		return sorted[below] + (sorted[above]-sorted[below])*(position-float64(below))
	}
	if len(sorted) == 0 {
		return 0, 0
	}
	median = at(0.5)
	if median != 0 {
		spread = (at(0.75) - at(0.25)) / median
	}
	return median, spread
}

// cost is one server's rounds.
type cost struct {
	Name     string    `json:"name"`
	Micros   []float64 `json:"cpu_microseconds_per_request"`
	PerCore  float64   `json:"requests_per_second_of_one_core"`
	BodySize int64     `json:"body_bytes"`
}

// report is one run.
type report struct {
	Time    time.Time `json:"time"`
	Machine string    `json:"machine"`
	Go      string    `json:"go"`
	Load    string    `json:"load_average_before"`
	Command string    `json:"command"`
	Costs   []cost    `json:"costs"`
	Rows    []row     `json:"rows"`
}

func newReport(o options) *report {
	load, _ := os.ReadFile("/proc/loadavg") // what is missing is not shown
	return &report{
		Time: time.Now().UTC().Truncate(time.Second), Machine: fmt.Sprintf("%d cores, %s", runtime.NumCPU(), processor()), Go: runtime.Version(),
		Load: strings.Join(strings.Fields(string(load))[:1], " "), Command: fmt.Sprintf("make bench BENCH='-rounds %d -turn %s -only %s'", o.rounds, o.turn, o.only),
	}
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, found := strings.CutPrefix(line, "model name"); found {
			return strings.TrimLeft(strings.TrimSpace(name), ": \t")
		}
	}
	return runtime.GOARCH
}

func (r *report) add(row row) { r.Rows = append(r.Rows, row) }

// print writes the report as Markdown.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "# The gateway beside its peers\n\n`%s`, %s, %s, %s; load average before: %s\n\n", r.Command, r.Time.Format(time.DateTime), r.Machine, r.Go, r.Load)
	fmt.Fprintf(w, "| what | measured | against | bar | stretch | spread | verdict |\n|---|---|---|---|---|---|---|\n")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | ±%.0f %% | %s |\n", row.What, quantity(row.Value, row.Unit), row.Against,
			quantity(row.Bar, row.Unit), quantity(row.Stretch, row.Unit), row.Spread*50, row.Verdict)
	}
	fmt.Fprintf(w, "\nSpread: half the distance between the quartiles of the rounds; a row is judged where it is at most ±%.0f %%, or where all rounds are on one side of the bar.\n", widest*50)
	if len(r.Costs) == 0 {
		return
	}
	fmt.Fprintf(w, "\nProcessor time of the server for one request, median of the rounds:\n\n| server | µs | requests/s of one core | body |\n|---|---|---|---|\n")
	for _, c := range r.Costs {
		median, _ := middle(c.Micros)
		fmt.Fprintf(w, "| %s | %.1f | %.0f | %d B |\n", c.Name, median, c.PerCore, c.BodySize)
	}
}

func quantity(value float64, unit string) string {
	switch {
	case value == 0:
		return ""
	case unit == "×":
		return fmt.Sprintf("%.2f ×", value)
	default:
		return fmt.Sprintf("%.4g %s", value, unit)
	}
}

// write keeps the report as the last one, and as one of its time.
func (r *report) write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var text strings.Builder
	r.print(&text)
	name := filepath.Join(folder, "peers-"+r.Time.Format("20060102T150405Z"))
	if err := os.WriteFile(name+".md", []byte(text.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(name+".json", append(data, '\n'), 0o644)
}
