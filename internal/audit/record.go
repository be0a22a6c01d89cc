package audit

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// Version is the schema version every line carries as "v". A reader refuses lines of a later version.
const Version = 1

// Phase says which moment of a call a line records.
type Phase string

// The phases. Records are intents and outcomes; the log itself adds checkpoints and notes to a chain.
const (
	Intent     Phase = "intent"     // durably stored before a call that is not a read may go upstream
	Outcome    Phase = "outcome"    // how a call ended, on every path
	Checkpoint Phase = "checkpoint" // a signature over everything before it
	Note       Phase = "note"       // something the log has to say about itself: recovery, a torn line, a vanished file
)

// Unknown is the outcome written at the next start for an intent whose own outcome was lost in a crash.
const Unknown = "unknown"

// Record is one line of the log: plain values, because the file format outlives every refactoring. Empty values are left
// out of the line. Text from outside is escaped, stripped of tokens and cut to a bound; the line then names the field in
// "cut". docs/audit.md describes each field.
type Record struct {
	Time       time.Time // when the line was taken on; set by Log, but where the outcome of a read has one
	ID         string    // the same for an intent and its outcome; made by Log when empty
	Phase      Phase     // set by Log
	RequestID  string
	TraceID    string
	Caller     Caller
	Team       string
	Client     Client
	Operation  string // the catalogue's operation id, "" where the request matched none
	Method     string
	Path       string // raw path as received; a query is cut off, it may carry SQL
	Target     Target
	Decision   Decision
	Credential string        // name of the upstream credential, never its value
	Cache      string        // how the answer was served: hit, stale, miss, …
	Queue      time.Duration // time spent waiting for a slot
	Upstream   Upstream
	Status     int    // the status the client was told; 0: none
	Outcome    string // a closed word: "ok", a problem code, or Unknown
	Bytes      int64  // body bytes sent to the client
	BodySHA256 string // hex hash of the request body of a call that is not a read
	SQL        string // of a database query, from RedactSQL; "" unless that is wanted

	Event  string // notes only: what happened, a closed word
	Detail string // notes only: for people

	Seq  uint64   // position in its chain; set by the log, seen when reading
	Prev string   // hash of the line before; set by the log, seen when reading
	Cut  []string // names of fields that were cut; seen when reading

	intended bool // Intent has recorded this one: its outcome closes it and is urgent
}

// Caller is who asked.
type Caller struct {
	Kind    string `json:"kind"`
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Email   string `json:"email"`
	Token   string `json:"token"` // public id of the minted token
}

// Client is where the request came from.
type Client struct {
	IP        netip.Addr `json:"ip"`
	UserAgent string     `json:"user_agent"`
}

// Target is what the call was about.
type Target struct {
	Kind         string `json:"kind"`
	Project      string `json:"project"`
	Organization string `json:"organization"`
	Parent       string `json:"parent"` // of a branch: the project it belongs to, where that was looked up
}

// Decision is what policy said.
type Decision struct {
	Allow  bool   `json:"allow"`
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
	Shadow string `json:"shadow"` // the rule on trial that would have decided otherwise
}

// Upstream is what upstream answered; zero where it was not asked.
type Upstream struct {
	Status    int
	Duration  time.Duration
	RequestID string
}

// wire is the shape of a line for decoding; encoding is by hand (encode.go).
type wire struct {
	V          int       `json:"v"`
	Time       time.Time `json:"time"`
	ID         string    `json:"id"`
	Phase      Phase     `json:"phase"`
	RequestID  string    `json:"request_id"`
	TraceID    string    `json:"trace_id"`
	Caller     Caller    `json:"caller"`
	Team       string    `json:"team"`
	Client     Client    `json:"client"`
	Operation  string    `json:"operation"`
	Method     string    `json:"method"`
	Path       string    `json:"path"`
	Target     Target    `json:"target"`
	Decision   Decision  `json:"decision"`
	Credential string    `json:"credential"`
	Cache      string    `json:"cache"`
	QueueMS    float64   `json:"queue_ms"`
	Upstream   struct {
		Status    int     `json:"status"`
		MS        float64 `json:"ms"`
		RequestID string  `json:"request_id"`
	} `json:"upstream"`
	Status     int      `json:"status"`
	Outcome    string   `json:"outcome"`
	Bytes      int64    `json:"bytes"`
	BodySHA256 string   `json:"body_sha256"`
	SQL        string   `json:"sql"`
	Event      string   `json:"event"`
	Detail     string   `json:"detail"`
	Cut        []string `json:"cut"`
	Seq        uint64   `json:"seq"`
	Prev       string   `json:"prev"`
}

// UnmarshalJSON reads one line. Unknown fields are ignored, so that a newer minor writer stays readable.
func (r *Record) UnmarshalJSON(line []byte) error {
	var w wire
	if err := json.Unmarshal(line, &w); err != nil {
		return err
	}
	if w.V != Version {
		return fmt.Errorf("schema version %d, this program reads version %d", w.V, Version)
	}
	*r = Record{
		Time: w.Time, ID: w.ID, Phase: w.Phase, RequestID: w.RequestID, TraceID: w.TraceID,
		Caller: w.Caller, Team: w.Team, Client: w.Client,
		Operation: w.Operation, Method: w.Method, Path: w.Path, Target: w.Target, Decision: w.Decision,
		Credential: w.Credential, Cache: w.Cache, Queue: fromMillis(w.QueueMS),
		Upstream: Upstream{Status: w.Upstream.Status, Duration: fromMillis(w.Upstream.MS), RequestID: w.Upstream.RequestID},
		Status:   w.Status, Outcome: w.Outcome, Bytes: w.Bytes, BodySHA256: w.BodySHA256, SQL: w.SQL,
		Event: w.Event, Detail: w.Detail, Cut: w.Cut, Seq: w.Seq, Prev: w.Prev,
	}
	return nil
}

// fromMillis rounds to the microsecond, the resolution lines are written in.
func fromMillis(ms float64) time.Duration {
	return time.Duration(math.Round(ms*1000)) * time.Microsecond
}
