package policy

import (
	"slices"
	"strings"

	"corp.example/gateway/internal/strictyaml"
)

// glob is a pattern for a whole text: "*" stands for any run of characters without a slash, "**" for any run. It has no
// other special characters, so that a claim's value can be written as it is.
type glob string

func (g glob) matches(text string) bool { return globMatch(string(g), text, "/") }

// wild reports whether the pattern begins with a wildcard.
func (g glob) wild() bool { return strings.HasPrefix(string(g), "*") }

// wordMatch matches a scope, permission or operation id against a pattern in which "*" stands for any run of characters.
func wordMatch(pattern, word string) bool { return globMatch(pattern, word, "") }

// globMatch matches without recursion: on a mismatch it goes back to the last wildcard and lets that take one character
// more. Where a single star may not cross stop, it also keeps the last double star to go back to. Time is bounded by
// len(pattern) × len(text)².
func globMatch(pattern, text, stop string) bool {
	type mark struct{ pattern, text int }
	single, double := mark{-1, 0}, mark{-1, 0}
	p, t := 0, 0
	for t < len(text) {
		switch {
		case strings.HasPrefix(pattern[p:], "**"):
			p += 2
			double, single = mark{p, t}, mark{-1, 0}
		case p < len(pattern) && pattern[p] == '*':
			p++
			single = mark{p, t}
		case p < len(pattern) && pattern[p] == text[t]:
			p, t = p+1, t+1
		case single.pattern >= 0 && (stop == "" || !strings.Contains(stop, text[single.text:single.text+1])):
			single.text++
			p, t = single.pattern, single.text
		case double.pattern >= 0:
			double.text++
			p, t, single = double.pattern, double.text, mark{-1, 0}
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// foldASCII lowers A to Z and nothing else: full case folding would make a Kelvin sign a k, and two people one.
func foldASCII(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) < 0 {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// didYouMean returns `, did you mean "…"?` with the nearest known word, "" where none is near.
func didYouMean(word string, known []string) string {
	if near := strictyaml.Nearest(word, slices.Values(known)); near != "" {
		return ", did you mean \"" + near + "\"?"
	}
	return ""
}
