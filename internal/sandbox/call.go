package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// maxJSON bounds a JSON body: the largest real one, a configuration with all mail templates, is a tenth of it.
const maxJSON = 8 << 20

// doc is a JSON object whose fields the stand-in does not look into.
type doc = map[string]any

// call is one request to one operation.
type call struct {
	*http.Request
	project *project // of {ref}; nil where the path names none
	body    []byte   // the whole body, but for operations that stream it
}

// refusal is an error with its HTTP answer, in upstream's form.
type refusal struct {
	status  int
	message string
}

func (f *refusal) Error() string { return fmt.Sprintf("%d %s", f.status, f.message) }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// decode reads the JSON body into v, or refuses as upstream's validation does.
func (c *call) decode(v any) error {
	if err := json.Unmarshal(c.body, v); err != nil {
		return refuse(http.StatusBadRequest, "Invalid request body: %v", err)
	}
	return nil
}

// flag reads a boolean query parameter.
func (c *call) flag(name string) bool { return c.URL.Query().Get(name) == "true" }

// number reads a numeric query parameter, fallback where it is absent or wrong.
func (c *call) number(name string, fallback int) int {
	n, err := strconv.Atoi(c.URL.Query().Get(name))
	if err != nil || n < 0 {
		return fallback
	}
	return n
}

// text is an answer that is not JSON.
type text string

// download is an answer written piece by piece.
type download struct {
	contentType string
	size        int64 // -1: not known beforehand
	write       func(io.Writer) error
}

// count is the empty answer to HEAD with how many there are.
type count int

// redirect is an answer that sends the browser elsewhere.
type redirect string

// answer writes what an operation returned: nothing for nil, text for text, JSON for everything else. It gives a length
// whenever it knows one; some clients cannot parse an empty answer without Content-Length: 0.
func answer(w http.ResponseWriter, status int, v any) {
	switch v := v.(type) {
	case nil:
		if status != http.StatusNoContent {
			w.Header().Set("Content-Length", "0")
		}
		w.WriteHeader(status)
	case count:
		w.Header().Set("X-Total-Count", strconv.Itoa(int(v)))
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(status)
	case redirect:
		w.Header().Set("Location", string(v))
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusSeeOther)
	case text:
		send(w, status, "text/plain; charset=utf-8", []byte(v))
	case *download:
		w.Header().Set("Content-Type", v.contentType)
		if v.size >= 0 {
			w.Header().Set("Content-Length", strconv.FormatInt(v.size, 10))
		}
		w.WriteHeader(status)
		if err := v.write(w); err != nil {
			panic(http.ErrAbortHandler) // a short body must not look complete
		}
	case json.RawMessage:
		send(w, status, "application/json; charset=utf-8", v)
	default:
		panic(fmt.Sprintf("sandbox: an operation answered with a %T", v))
	}
}

func send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone; there is nobody left to tell
}

// encoded turns a value that may still change into bytes that cannot. The caller holds the state's lock.
func encoded(v any) (any, error) {
	switch v.(type) {
	case nil, text, *download, count, redirect:
		return v, nil
	}
	data, err := json.Marshal(v)
	return json.RawMessage(data), err
}

// writeError answers with upstream's error form.
func writeError(w http.ResponseWriter, err error) {
	var f *refusal
	if !errors.As(err, &f) {
		f = &refusal{http.StatusInternalServerError, err.Error()}
	}
	body, _ := json.Marshal(struct { // two strings always marshal
		Message string `json:"message"`
	}{f.message})
	send(w, f.status, "application/json; charset=utf-8", body)
}
