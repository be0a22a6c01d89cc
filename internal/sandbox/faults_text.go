package sandbox

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseFault reads a rule from text: a kind, with its argument behind "=" where it takes one, then any of method, path,
// probability, times, late, status, lacks, header and bytes, all separated by commas. A part that contains a comma is put in
// double quotes.
//
//	status=503,method=GET,path=/v1/projects,times=2
//	status=429,header=Retry-After: 5,probability=0.1
//	status=403,lacks=infra_disk_config_read+infra_disk_config_write
//	reset,late                   the operation is carried out, its answer is lost
//	cut=1024                     after so many bytes of body
//	hang,path=/v1/organizations
//	redirect=https://elsewhere.example,status=302
//	echo=error                   or body, or header
//	slow=50ms,bytes=512          a pause before each piece of so many bytes
func ParseFault(text string) (Fault, error) {
	reader := csv.NewReader(strings.NewReader(text))
	reader.LazyQuotes = true
	parts, err := reader.Read()
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: a kind is expected, such as status=503", text)
	}
	if _, err := reader.Read(); err == nil {
		return Fault{}, fmt.Errorf("fault %q: one line is expected", text)
	}
	kind, argument, _ := strings.Cut(parts[0], "=")
	f := Fault{Kind: FaultKind(kind)}
	faults := []error{f.setArgument(argument)}
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		faults = append(faults, f.set(strings.TrimSpace(key), value))
	}
	if err := errors.Join(faults...); err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	f = f.withDefaults()
	if err := f.validate(); err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return f, nil
}

// setArgument reads what stands behind the kind.
func (f *Fault) setArgument(argument string) (err error) {
	switch f.Kind {
	case FaultStatus:
		err = setNumber(&f.Status, "status", argument)
	case FaultCut:
		err = setNumber(&f.Bytes, "cut", argument)
	case FaultSlow:
		if argument != "" {
			f.Pause, err = time.ParseDuration(argument)
		}
	case FaultRedirect:
		f.Host = argument
	case FaultEcho:
		f.Into = argument
	default:
		if argument != "" {
			err = fmt.Errorf("%s takes no argument", f.Kind)
		}
	}
	return err
}

// set reads one part behind the kind.
func (f *Fault) set(key, value string) (err error) {
	switch key {
	case "method":
		f.Method = value
	case "path":
		f.Path = value
	case "probability":
		if f.Probability, err = strconv.ParseFloat(value, 64); err != nil || f.Probability == 0 {
			err = fmt.Errorf("probability %q: use a chance above 0, up to 1", value)
		}
	case "times":
		err = setNumber(&f.Times, key, value)
	case "late":
		if f.Late = value == "" || value == "true"; !f.Late {
			err = fmt.Errorf("late %q: write late alone", value)
		}
	case "status":
		err = setNumber(&f.Status, key, value)
	case "lacks":
		f.Lacks = value
	case "bytes":
		err = setNumber(&f.Bytes, key, value)
	case "header":
		name, text, found := strings.Cut(value, ":")
		if !found {
			return fmt.Errorf("header %q: use Name: value", value)
		}
		if f.Header == nil {
			f.Header = map[string]string{}
		}
		f.Header[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = strings.TrimSpace(text)
	default:
		err = fmt.Errorf("%q: use method, path, probability, times, late, status, lacks, header or bytes", key)
	}
	return err
}

func setNumber(into *int, key, value string) (err error) {
	if *into, err = strconv.Atoi(value); err != nil {
		return fmt.Errorf("%s %q: a whole number is expected", key, value)
	}
	return nil
}

// String gives the text that ParseFault reads.
func (f Fault) String() string {
	var parts []string
	add := func(key, value string, given bool) {
		if given {
			parts = append(parts, key+"="+value)
		}
	}
	switch f.Kind {
	case FaultStatus:
		add("status", strconv.Itoa(f.Status), true)
	case FaultCut:
		add("cut", strconv.Itoa(f.Bytes), true)
	case FaultSlow:
		add("slow", f.Pause.String(), true)
		add("bytes", strconv.Itoa(f.Bytes), true)
	case FaultRedirect:
		add("redirect", f.Host, true)
	case FaultEcho:
		add("echo", f.Into, true)
	default:
		parts = append(parts, string(f.Kind))
	}
	add("status", strconv.Itoa(f.Status), f.Status != 0 && f.Kind != FaultStatus)
	add("lacks", f.Lacks, f.Lacks != "")
	add("method", f.Method, f.Method != "")
	add("path", f.Path, f.Path != "")
	add("probability", strconv.FormatFloat(f.Probability, 'g', -1, 64), f.Probability != 0)
	add("times", strconv.Itoa(f.Times), f.Times != 0)
	if f.Late {
		parts = append(parts, "late")
	}
	var headers []string
	for name, value := range f.Header {
		headers = append(headers, name+": "+value)
	}
	slices.Sort(headers)
	for _, header := range headers {
		add("header", header, true)
	}
	var text strings.Builder
	writer := csv.NewWriter(&text)
	writer.Write(parts) // a strings.Builder takes everything
	writer.Flush()
	return strings.TrimSuffix(text.String(), "\n")
}

// MarshalText and UnmarshalText make the text the JSON form as well.
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what ParseFault reads.
func (f *Fault) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFault(string(text))
	return err
}
