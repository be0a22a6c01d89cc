package limiter

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed journal.lua
var journalScript string

// keyPrefix begins every key. Its number is that of the rules: replicas that would compute differently from the same
// entries must not share them, and take each other for outsiders instead.
const keyPrefix = "gateway:limiter:3:"

// journal is where replicas tell each other what happens, in Redis.
type journal struct {
	client redis.UniversalClient
	script *redis.Script
	now    func() time.Time // nil: Redis's own clock
}

func newJournal(client redis.UniversalClient, now func() time.Time) *journal {
	return &journal{client: client, script: redis.NewScript(journalScript), now: now}
}

// page is what a replica has to tell one group, and how far it has read.
type page struct {
	scope  string
	epoch  string // "": it knows nothing of the group
	read   int
	covers int    // how many entries state covers, where it is to replace them
	state  []byte // nil: none
	entry  []byte // nil: only read
	live   time.Duration
}

// readAll as the epoch of a page reads a group from its beginning, and makes none where there is none.
const readAll = "?"

// letter is one exchange of a replica with the groups of one owner.
type letter struct {
	owner   string
	replica string // "": it does not show itself
	fresh   string // id of the owner's memory, should Redis have none
	rules   string // what all replicas must agree on before they read each other's entries
	pages   []page
}

// answer is what Redis returned.
type answer struct {
	now    time.Time
	memory string
	born   time.Time            // when Redis began to remember
	alive  map[string]time.Time // when each replica was last there; only where the replica showed itself
	pages  []news               // in the order of the letter's
}

// news is what a replica has not read of a group.
type news struct {
	lost    bool   // Redis knows nothing of a group that the replica knows
	epoch   string // names the group's life in Redis
	from    int    // number of the first entry
	state   []byte // what entries before it came to, where the replica must begin anew
	anew    bool   // it must
	entries []string
}

// put is when the group's life in Redis began.
func (n *news) put() time.Time {
	_, date, _ := strings.Cut(n.epoch, "@")
	at, _ := micros(date) // a time it cannot read is long ago: then nothing is too old
	return at
}

// keys are those of one owner: all in one slot of a Redis Cluster, so that one script may touch them.
func (l *letter) keys() []string {
	tag := ownerKey(l.owner)
	keys := make([]string, 0, 3+2*len(l.pages))
	keys = append(keys, tag+"memory", tag+"alive", tag+"scopes")
	for i := range l.pages {
		group := tag + l.rules + ":" + l.pages[i].scope
		keys = append(keys, group, group+":log")
	}
	return keys
}

func ownerKey(owner string) string { return keyPrefix + "{" + url.PathEscape(owner) + "}:" }

// send delivers the letter: one round trip.
func (j *journal) send(ctx context.Context, l *letter) (answer, error) {
	clock := ""
	if j.now != nil {
		clock = strconv.FormatInt(j.now().UnixMicro(), 10)
	}
	args := make([]any, 0, 3+7*len(l.pages))
	args = append(args, clock, l.replica, l.fresh)
	for i := range l.pages {
		p := &l.pages[i]
		args = append(args, p.scope, p.epoch, p.read, p.covers, p.state, p.entry, p.live.Milliseconds())
	}
	reply, err := j.script.Run(ctx, j.client, l.keys(), args...).Slice()
	if err != nil {
		return answer{}, fmt.Errorf("telling Redis of the quota: %w", err)
	}
	return readAnswer(reply, len(l.pages))
}

// forget gives up an owner's memory, if it is still the one named: what was told there contradicts itself.
func (j *journal) forget(ctx context.Context, owner, memory string) error {
	const script = `if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then return redis.call('DEL', KEYS[1], KEYS[2]) end return 0`
	return j.client.Eval(ctx, script, []string{ownerKey(owner) + "memory", ownerKey(owner) + "alive"}, memory).Err()
}

// scopes lists the scopes of an owner, the last used first, up to a number.
func (j *journal) scopes(ctx context.Context, owner string, most int64) ([]string, error) {
	key := ownerKey(owner) + "scopes"
	scopes, err := j.client.ZRevRange(ctx, key, 0, most-1).Result()
	if err != nil {
		return nil, fmt.Errorf("reading from Redis which scopes are used: %w", err)
	}
	return scopes, nil
}

var errAnswer = errors.New("redis answered what the limiter's script does not return")

func readAnswer(reply []any, pages int) (answer, error) {
	if len(reply) != 5 {
		return answer{}, errAnswer
	}
	var a answer
	var err error
	if a.now, err = micros(reply[0]); err != nil {
		return a, err
	}
	a.memory, _ = reply[1].(string)
	if a.born, err = micros(reply[2]); err != nil {
		return a, err
	}
	shown, _ := reply[3].([]any)
	a.alive = make(map[string]time.Time, len(shown)/2)
	for i := 0; i+1 < len(shown); i += 2 {
		replica, _ := shown[i].(string)
		if a.alive[replica], err = micros(shown[i+1]); err != nil {
			return a, err
		}
	}
	groups, _ := reply[4].([]any)
	if len(groups) != pages {
		return a, errAnswer
	}
	a.pages = make([]news, pages)
	for i := range groups {
		group, _ := groups[i].([]any)
		if a.pages[i], err = readNews(group); err != nil {
			return a, err
		}
	}
	return a, nil
}

func readNews(group []any) (news, error) {
	if len(group) == 1 {
		return news{lost: true}, nil
	}
	if len(group) != 4 {
		return news{}, errAnswer
	}
	var n news
	n.epoch, _ = group[0].(string)
	from, isNumber := group[1].(int64)
	n.from = int(from)
	if state, stated := group[2].(string); stated {
		n.anew, n.state = true, []byte(state)
	}
	entries, isList := group[3].([]any)
	if !isNumber || !isList || n.epoch == "" {
		return n, errAnswer
	}
	n.entries = make([]string, len(entries))
	for i, entry := range entries {
		n.entries[i], _ = entry.(string)
	}
	return n, nil
}

func micros(v any) (time.Time, error) {
	text, _ := v.(string)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, errAnswer
	}
	return time.UnixMicro(n), nil
}

// readEntry takes the time that Redis put before an entry apart from it.
func readEntry(raw string) (time.Time, entry, error) {
	date, body, _ := strings.Cut(raw, " ")
	at, err := micros(date)
	if err != nil {
		return at, entry{}, err
	}
	e, err := decodeEntry([]byte(body))
	return at, e, err
}
