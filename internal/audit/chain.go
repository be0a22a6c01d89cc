package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A line is a body followed by its tail:
//
//	{…body…,"seq":42,"prev":"<hex SHA-256 of line 41 without its newline>"}
//
// The tail makes the chain: whoever changes, removes, inserts or moves a line breaks the next one's prev or seq.
const (
	seqKey  = `,"seq":`
	prevKey = `,"prev":"`
	tailEnd = `"}`
)

type digest [sha256.Size]byte

// link is a place in a chain: the last line's position and hash. The zero link is the place before the first line.
type link struct {
	seq  uint64
	hash digest
}

// body is a line without its tail, in two pieces: what is its own, and what it shares with other lines, which nobody changes.
type body struct{ own, shared []byte }

func (b body) len() int { return len(b.own) + len(b.shared) }

// appendLine completes b to a line after l, appends it with its newline to dst, and returns dst and the new link.
func (l link) appendLine(dst []byte, b body) ([]byte, link) {
	start := len(dst)
	dst = append(append(dst, b.own...), b.shared...)
	dst = l.appendTail(dst)
	next := link{seq: l.seq + 1, hash: hashLine(dst[start:])}
	return append(dst, '\n'), next
}

func (l link) appendTail(dst []byte) []byte {
	dst = append(dst, seqKey...)
	dst = strconv.AppendUint(dst, l.seq+1, 10)
	dst = append(dst, prevKey...)
	dst = hex.AppendEncode(dst, l.hash[:])
	return append(dst, tailEnd...)
}

func hashLine(line []byte) digest { return sha256.Sum256(line) }

// tail is what a line says about its own place.
type tail struct {
	seq  uint64
	prev digest
	body int // length of the line's body
}

// parseTail reads the tail of a line without its newline. It is strict: a line it accepts is written in one way only.
func parseTail(line []byte) (tail, bool) {
	const fixed = 2*sha256.Size + len(tailEnd)
	if len(line) < len(linePrefix)+len(seqKey)+1+len(prevKey)+fixed || !bytes.HasPrefix(line, []byte(linePrefix)) || !bytes.HasSuffix(line, []byte(tailEnd)) {
		return tail{}, false
	}
	var t tail
	rest, text := line[:len(line)-fixed], line[len(line)-fixed:len(line)-len(tailEnd)]
	if _, err := hex.Decode(t.prev[:], text); err != nil || bytes.ContainsAny(text, "ABCDEF") {
		return tail{}, false
	}
	rest, ok := bytes.CutSuffix(rest, []byte(prevKey))
	if !ok {
		return tail{}, false
	}
	const maxDigits = 20 // of a uint64
	digits := len(rest)
	for digits > 0 && len(rest)-digits <= maxDigits && '0' <= rest[digits-1] && rest[digits-1] <= '9' {
		digits--
	}
	number := rest[digits:]
	seq, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || seq == 0 || number[0] == '0' || !bytes.HasSuffix(rest[:digits], []byte(seqKey)) {
		return tail{}, false
	}
	t.seq, t.body = seq, digits-len(seqKey)
	return t, true
}

// follows reports whether a line with this tail is the one after l.
func (t tail) follows(l link) bool { return t.seq == l.seq+1 && t.prev == l.hash }

// checkpoint is what a checkpoint line says. Its signature covers the whole line except the signature itself, and so,
// through prev, everything before it.
type checkpoint struct {
	Chain string   `json:"chain"`
	File  uint64   `json:"file"`  // number of the file this line opens; 0: it opens none
	Open  []string `json:"open"`  // opening lines only: ids of intents without an outcome in earlier files
	Since *since   `json:"since"` // where the kept chain begins once retention has removed files
	Key   string   `json:"key"`   // keyID of the signing key
}

// since names the first line retention has kept.
type since struct {
	Seq  uint64 `json:"seq"`
	Prev string `json:"prev"`
}

// signingContext keeps a checkpoint's signature from meaning anything elsewhere.
const signingContext = "gateway audit checkpoint v1\n"

// sigKey ends what is signed of a checkpoint's body; the signature is standard base64 of its 64 bytes.
const sigKey = `,"sig":"`

// maxOpenList bounds the ids listed in an opening line, so that it stays within maxLine: some 14,000 calls under way.
const maxOpenList = maxLine / 2

// appendCheckpoint appends a signed line after l.
func (l link) appendCheckpoint(dst []byte, now time.Time, c checkpoint, key ed25519.PrivateKey) ([]byte, link) {
	e := encoder{b: append([]byte(nil), linePrefix...)}
	e.b = append(appendTime(e.b, now), '"')
	e.text(`"phase":`, "phase", string(Checkpoint), 16)
	e.text(`"chain":`, "chain", c.Chain, 64)
	e.number(`"file":`, int64(c.File))
	if len(c.Open) > 0 {
		e.key(`"open":`)
		e.b = append(e.b, '[')
		for i, id := range c.Open {
			if len(e.b) > maxOpenList {
				break
			}
			if i > 0 {
				e.b = append(e.b, ',')
			}
			e.b = appendQuoted(e.b, id)
		}
		e.b = append(e.b, ']')
	}
	if c.Since != nil {
		e.open(`"since":`)
		e.number(`"seq":`, int64(c.Since.Seq))
		e.text(`"prev":`, "prev", c.Since.Prev, 64)
		e.b = append(e.b, '}')
	}
	e.text(`"key":`, "key", keyID(key.Public().(ed25519.PublicKey)), 64)
	sig := ed25519.Sign(key, signedBytes(e.b, l.appendTail(nil)))
	own := append(e.b, sigKey...)
	own = base64.StdEncoding.AppendEncode(own, sig)
	return l.appendLine(dst, body{own: append(own, '"')})
}

func signedBytes(body, tail []byte) []byte {
	return bytes.Join([][]byte{[]byte(signingContext), body, tail}, nil)
}

// parseCheckpoint reads a checkpoint line.
func parseCheckpoint(line []byte) (checkpoint, error) {
	var c checkpoint
	if err := json.Unmarshal(line, &c); err != nil {
		return checkpoint{}, fmt.Errorf("reading checkpoint: %w", err)
	}
	return c, nil
}

// signedBy reports whether line, a checkpoint with tail t, carries key's signature.
func (t tail) signedBy(line []byte, key ed25519.PublicKey) bool {
	body, ok := bytes.CutSuffix(line[:t.body], []byte{'"'})
	at := bytes.LastIndex(body, []byte(sigKey))
	if !ok || at < 0 {
		return false
	}
	sig, err := base64.StdEncoding.DecodeString(string(body[at+len(sigKey):]))
	return err == nil && ed25519.Verify(key, signedBytes(body[:at], line[t.body:]), sig)
}

// linePhase reads the phase from its fixed place; "" when the line does not begin as lines do.
func linePhase(line []byte) Phase {
	for _, p := range [...]Phase{Outcome, Intent, Checkpoint, Note} {
		if at(line, phaseOffset, string(p)+`"`) {
			return p
		}
	}
	return ""
}

// lineID reads the id of a record from its fixed place.
func lineID(line []byte, p Phase) string {
	const key = `,"id":"`
	start := phaseOffset + len(p) + 1
	if !at(line, start, key) {
		return ""
	}
	rest := line[start+len(key):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 || end > maxID {
		return ""
	}
	return string(rest[:end])
}

// lineTime returns the time as it stands in the line: text that sorts as time does. Nil when the line is too short.
func lineTime(line []byte) []byte {
	if len(line) < phaseOffset {
		return nil
	}
	return line[timeOffset : timeOffset+len(timeLayout)]
}

func at(line []byte, offset int, want string) bool {
	return len(line) >= offset+len(want) && string(line[offset:offset+len(want)]) == want
}
