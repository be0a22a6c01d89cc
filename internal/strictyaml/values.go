package strictyaml

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written as in Go (1h30m) or in days (90d).
type Duration time.Duration

// UnmarshalText reads a duration; a bare number is refused, since its unit would be a guess.
func (d *Duration) UnmarshalText(text []byte) error {
	if days, found := strings.CutSuffix(string(text), "d"); found {
		n, err := strconv.ParseUint(days, 10, 32)
		if err == nil && n <= math.MaxInt64/uint64(24*time.Hour) {
			*d = Duration(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	value, err := time.ParseDuration(string(text))
	if err != nil || value < 0 {
		return fmt.Errorf("%q is no duration: write it as 30s, 1h30m or 90d", text)
	}
	*d = Duration(value)
	return nil
}

// MarshalText writes a duration that UnmarshalText reads back.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Duration) String() string {
	if day := Duration(24 * time.Hour); d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return time.Duration(d).String()
}

// Bytes is a size that is written with its unit: 64MiB, 512KiB, 1GiB or plain bytes as 4096B.
type Bytes int64

// UnmarshalText reads a size; a bare number is refused, since its unit would be a guess.
func (b *Bytes) UnmarshalText(text []byte) error {
	for _, unit := range []struct {
		suffix string
		factor int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}} {
		digits, found := strings.CutSuffix(string(text), unit.suffix)
		if !found {
			continue
		}
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64/unit.factor {
			*b = Bytes(n * unit.factor)
			return nil
		}
	}
	return fmt.Errorf("%q is no size: write it as 512KiB, 64MiB or 1GiB", text)
}

// MarshalText writes a size that UnmarshalText reads back.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

func (b Bytes) String() string {
	for _, unit := range []struct {
		suffix string
		factor Bytes
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b >= unit.factor && b%unit.factor == 0 {
			return strconv.FormatInt(int64(b/unit.factor), 10) + unit.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Nearest returns the known name closest to word, "" when none is near enough to be what was meant.
func Nearest(word string, known iter.Seq[string]) string {
	best, bestDistance := "", len(word)/3+2
	for name := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

func didYouMean(word string, known []string) string {
	if nearest := Nearest(word, slices.Values(known)); nearest != "" {
		return fmt.Sprintf(": did you mean %q?", nearest)
	}
	return ": known here are " + strings.Join(known, ", ")
}

// distance is the number of letters to add, remove or change between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
