package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// Memory is used again from request to request. Under a mix of everything at once, much of it in one packet, each answer,
// each audit record and the metrics must speak of their own request alone.
func TestNothingOfOneRequestShowsInAnothers(t *testing.T) {
	t.Parallel()
	m := &mix{t: t, answered: map[string]asked{}}
	m.gateway = harness.Start(t, harness.Options{
		Server: "max_body: 1MiB, ",
		Config: "limits: {classes: {default: [{requests: 100000, window: 1s}]}}\n",
		Front:  func(http.Handler) http.Handler { return http.HandlerFunc(m.upstream) },
	})
	m.tokens = map[string]string{"ada": m.gateway.Token("payments"), "bob": m.gateway.Token("field"), "": ""}
	connections := 40
	if harness.Race {
		connections = 15
	}
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range connections {
				m.connection()
			}
		})
	}
	clients.Wait()
	m.checkRecords()
}

// mix is the load, what stands behind the gateway, and what the clients saw.
type mix struct {
	t        *testing.T
	gateway  *harness.Gateway
	tokens   map[string]string // by person
	marks    atomic.Int64
	early    sync.Map // by mark: closed when upstream has answered before it had the body
	mu       sync.Mutex
	answered map[string]asked // by request id
}

// asked is one request and what must become of it. Its mark stands in everything that it sends and nowhere else.
type asked struct {
	mark, who, method, path, query, body string
	held                                 bool // half of the body is held back until upstream has answered
	status                               int
	want                                 string // the answer's body; "": a problem that names the request id
	bytes                                int64
	upstream                             string // the request id of upstream's answer where it was asked for this request
}

// project is the project of a person's team, and foreign is another's.
func projectOf(who string) (project, foreign string) {
	if who == "bob" {
		return sandbox.FieldApp, sandbox.Payments
	}
	return sandbox.Payments, sandbox.FieldApp
}

// invent makes up a request.
func (m *mix) invent() asked {
	a := asked{mark: fmt.Sprintf("mark%07d", m.marks.Add(1)), who: []string{"ada", "bob"}[rand.IntN(2)], method: "GET", status: 200}
	project, foreign := projectOf(a.who)
	a.path, a.query, a.upstream = "/v1/projects/"+project, "?n="+a.mark, "up-"+a.mark
	repeated := `[{"mark":"` + strings.Repeat(a.mark, 1+rand.IntN(5000)) + `"}]`
	switch rand.IntN(9) {
	case 0, 1: // read from the cache, most of the time
		shared := fmt.Sprint("shared", rand.IntN(4), a.who)
		a.path, a.query, a.want, a.upstream = a.path+"/functions", "?n="+shared, `[{"mark":"`+shared+`"}]`, "up-"+shared
	case 2:
		a.path, a.want = a.path+"/functions", `[{"mark":"`+a.mark+`"}]`
		if rand.IntN(2) == 0 {
			a.method, a.want = "HEAD", ""
		}
	case 3: // streamed in chunks
		a.path, a.want = a.path+"/functions/x/body", strings.Repeat(a.mark, 2000)
	case 4: // narrowed
		a.path, a.want = "/v1/projects", `[{"ref":"`+project+`","organization_slug":"o","name":"`+a.mark+`"}]`
	case 5:
		a.method, a.path, a.body, a.status, a.want = "POST", a.path+"/secrets", repeated, 201, `{"mark":"`+a.mark+`"}`
	case 6: // answered before the body has come
		a.method, a.path, a.body, a.status, a.want, a.held = "POST", a.path+"/secrets", `[{"mark":"`+a.mark+`early`+strings.Repeat("x", 150<<10)+`"}]`, 409, `{"mark":"`+a.mark+`"}`, true
	case 7:
		a.path, a.status, a.upstream = "/v1/projects/"+foreign+"/functions", 403, ""
	case 8:
		a.path, a.status, a.upstream = "/v1/"+a.mark, 404, ""
		if rand.IntN(2) == 0 {
			a.who, a.path, a.status = "", "/v1/projects", 401
		}
	}
	return a
}

// upstream answers with the mark that it was sent.
func (m *mix) upstream(w http.ResponseWriter, r *http.Request) {
	mark, h := r.URL.Query().Get("n"), w.Header()
	h.Set("X-Ratelimit-Limit", "1000000")
	h.Set("X-Ratelimit-Remaining", "999999")
	h.Set("X-Ratelimit-Reset", "60")
	h.Set("Content-Type", "application/json")
	h.Set("X-Mark", mark)
	h.Set("X-Request-Id", "up-"+mark)
	switch {
	case strings.HasSuffix(r.URL.Path, "/body"):
		for range 20 {
			io.WriteString(w, strings.Repeat(mark, 100))
			http.NewResponseController(w).Flush()
		}
	case r.URL.Path == "/v1/projects":
		list := []string{}
		for _, ref := range []string{sandbox.Payments, sandbox.FieldApp} {
			list = append(list, `{"ref":"`+ref+`","organization_slug":"o","name":"`+mark+`"}`)
		}
		io.WriteString(w, "["+strings.Join(list, ",")+"]")
	case r.Method == "POST":
		if answered, is := m.early.Load(mark); is {
			http.NewResponseController(w).EnableFullDuplex()
			h.Set("Content-Length", strconv.Itoa(len(`{"mark":"`+mark+`"}`)))
			w.WriteHeader(409)
			io.WriteString(w, `{"mark":"`+mark+`"}`)
			http.NewResponseController(w).Flush()
			close(answered.(chan bool))
			io.Copy(io.Discard, r.Body)
			return
		}
		body, err := io.ReadAll(r.Body)
		marks := markForm.FindAllString(string(body), -1)
		if err == nil && len(marks) == 0 || slices.ContainsFunc(marks, func(found string) bool { return found != mark }) { // a client that left has sent a part
			m.t.Errorf("upstream has another body for %s: %.100q", mark, body)
		}
		w.WriteHeader(201)
		io.WriteString(w, `{"mark":"`+mark+`"}`)
	default:
		io.WriteString(w, `[{"mark":"`+mark+`"}]`)
	}
}

// connection sends some requests over one connection, as many as it can at once, and reads their answers.
func (m *mix) connection() {
	conn, err := net.Dial("tcp", strings.TrimPrefix(m.gateway.URL, "http://"))
	if err != nil {
		m.t.Error(err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	requests := make([]asked, 8)
	for i := range requests {
		requests[i] = m.invent()
	}
	sent := make(chan bool)
	go func() {
		defer close(sent)
		var together strings.Builder
		for _, a := range requests {
			head := a.method + " " + a.path + a.query + " HTTP/1.1\r\nHost: x\r\nUser-Agent: agent/" + a.mark + "\r\nX-Client-Info: " + a.mark + "\r\n"
			if token := m.tokens[a.who]; token != "" {
				head += "Authorization: Bearer " + token + "\r\n"
			}
			if a.body != "" {
				head += "Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(a.body)) + "\r\n"
			}
			together.WriteString(head + "\r\n")
			if !a.held {
				together.WriteString(a.body)
				continue
			}
			answered := make(chan bool)
			m.early.Store(a.mark, answered)
			together.WriteString(a.body[:100<<10])
			io.WriteString(conn, together.String()) // an error shows where the answers are read
			<-answered
			together.Reset()
			together.WriteString(a.body[100<<10:])
		}
		io.WriteString(conn, together.String())
	}()
	answers, last := bufio.NewReader(conn), len(requests)-1
	for i, a := range requests {
		if i == last && !a.held && rand.IntN(3) == 0 {
			break // leaves with its last answer on the way
		}
		response, err := http.ReadResponse(answers, &http.Request{Method: a.method})
		if err != nil {
			m.t.Errorf("request %d, %+v: %v", i, a, err)
			return
		}
		text, err := io.ReadAll(response.Body)
		if err != nil {
			m.t.Errorf("request %d, %.200v: reading its answer: %v", i, a, err)
		}
		m.check(a, response, string(text))
	}
	<-sent
}

var markForm = regexp.MustCompile(`mark\d{7}`)

// check compares an answer with what it must be, and remembers it.
func (m *mix) check(a asked, response *http.Response, text string) {
	id := response.Header.Get("X-Request-Id")
	if a.status == 401 && response.StatusCode == 429 {
		a.status = http.StatusTooManyRequests // after some strangers from one address
	}
	if a.want == "" && a.method != "HEAD" && strings.Contains(text, `"request_id":"`+id+`"`) {
		a.want = text
	}
	if response.StatusCode != a.status || text != a.want {
		m.t.Errorf("%s %s%s as %q was answered %d %.300q", a.method, a.path, a.query, a.who, response.StatusCode, text)
	}
	for _, found := range markForm.FindAllString(strings.Join(flatten(response.Header), "\n")+text, -1) {
		if found != a.mark {
			m.t.Errorf("%s %s%s: its answer has %s in it: %v %.300q", a.method, a.path, a.query, found, response.Header, text)
			break
		}
	}
	a.bytes = int64(len(text))
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, twice := m.answered[id]; twice || id == "" {
		m.t.Errorf("two answers have the request id %q", id)
	}
	m.answered[id] = a
}

// checkRecords compares the audit log with what was asked and answered, and the metrics with the audit log.
func (m *mix) checkRecords() {
	for deadline := time.Now().Add(10 * time.Second); metric(m.t, m.gateway, "gateway_connections") > 0; time.Sleep(20 * time.Millisecond) { // another process's
		if time.Now().After(deadline) {
			m.t.Fatal("connections that clients have left stay open")
		}
	}
	counted := map[string]string{}
	for line := range strings.Lines(metrics(m.t, m.gateway)) {
		if labels, found := strings.CutPrefix(line, "gateway_requests_total{"); found {
			labels, n, _ := strings.Cut(labels, "} ")
			counted[labels] = strings.TrimSpace(n)
		}
	}
	if err := m.gateway.Terminate(); err != nil { // with a data race in it, too
		m.t.Error(err)
	}
	recorded, outcomes := map[string]int{}, 0
	for _, r := range m.gateway.AllAudit() {
		if r.Phase == audit.Outcome && r.Status != 0 { // the commands' records have none
			recorded[fmt.Sprintf(`code="%d",operation="%s",outcome="%s",team="%s"`, r.Status, r.Operation, r.Outcome, r.Team)]++
		}
		if a, answered := m.answered[r.RequestID]; answered && (r.Phase == audit.Outcome || r.Phase == audit.Intent) {
			if r.Phase == audit.Outcome {
				outcomes++
			}
			m.checkRecord(a, r)
		}
	}
	if outcomes != len(m.answered) {
		m.t.Errorf("%d outcomes of %d requests that were answered", outcomes, len(m.answered))
	}
	if len(counted) != len(recorded) {
		m.t.Errorf("the metrics count %d kinds of requests, the audit log has %d", len(counted), len(recorded))
	}
	for labels, n := range recorded {
		if counted[labels] != strconv.Itoa(n) {
			m.t.Errorf("the metrics count %q requests of %s, the audit log has %d", counted[labels], labels, n)
		}
	}
}

// checkRecord compares one record with its request.
func (m *mix) checkRecord(a asked, r audit.Record) {
	type facts struct{ method, path, agent, subject, team, upstream, sum string }
	team := map[string]string{"ada": "payments", "bob": "field"}[a.who]
	want := facts{a.method, a.path, "agent/" + a.mark, team, team, a.upstream, ""}
	got := facts{r.Method, r.Path, r.Client.UserAgent, strings.TrimSuffix(r.Caller.Subject, "-robot"), r.Team, r.Upstream.RequestID, r.BodySHA256}
	if r.Team == "" && a.status >= 400 {
		want.team = "" // nobody was let in by any
	}
	if got.upstream == "" && a.method != "POST" || r.Phase == audit.Intent {
		want.upstream = "" // somebody else's request brought the answer, or there is none yet
	}
	if a.method == "POST" && r.Phase == audit.Outcome {
		want.sum = sumOf(a.body)
		if a.held {
			want.sum = r.BodySHA256 // of as much as was sent
		}
	}
	if got != want {
		m.t.Errorf("the %s of %s is recorded as %+v, want %+v", r.Phase, a.mark, got, want)
	}
	if r.Phase == audit.Outcome && (r.Status != a.status || r.Bytes != a.bytes) {
		m.t.Errorf("the outcome of %s is recorded with status %d and %d bytes, want %d and %d", a.mark, r.Status, r.Bytes, a.status, a.bytes)
	}
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
