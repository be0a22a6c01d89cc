package audit

import (
	"bytes"
	"fmt"
	"slices"
)

// neighbours are the lines around the first one that does not follow.
type neighbours struct {
	bad      []byte // the line itself
	next     []byte // the one after it, also in the next file; nil: none
	resumed  int    // number of the line that does follow from the last good one; 0: none in this file
	again    bool   // a later line has the bad line's seq too
	repeated []byte // the earlier line that has the bad line's seq, where it is in this file
}

// classify says what was done where the chain breaks: at the line at.line of f, which does not follow from v.last.
func (v *verifier) classify(f file, at position) error {
	n, err := v.look(f, at)
	if err != nil {
		return err
	}
	want := v.last.seq + 1
	t, ok := parseTail(n.bad)
	switch {
	case n.resumed > 0 && (!ok || t.seq <= want || n.again):
		v.fault(Inserted, at, fmt.Sprintf("%d lines do not belong here: line %d of the chain comes after them", n.resumed-at.line, want))
	case n.resumed > 0:
		v.fault(Reordered, at, fmt.Sprintf("line %d of the chain is here, line %d belongs here and is at %s:%d", t.seq, want, at.file, n.resumed))
	case !ok:
		v.fault(Edited, at, "not a line as the log writes them")
	case t.prev == v.last.hash:
		v.fault(Edited, at, fmt.Sprintf("it says it is line %d of the chain, it is line %d", t.seq, want))
	case t.seq >= want && n.disowned():
		v.fault(Edited, at, "neither neighbour fits it")
	case t.seq == want:
		v.fault(Edited, v.seen, fmt.Sprintf("its hash is not what %s:%d says", at.file, at.line))
	case t.seq > want:
		v.classifyGap(f, t, at)
	case n.repeated != nil && !bytes.Equal(n.repeated, n.bad):
		first := position{file: at.file, line: at.line - int(want-t.seq)}
		v.fault(Inserted, first, fmt.Sprintf("%d lines were put in before %s:%d", want-t.seq, at.file, at.line))
	default:
		v.fault(Inserted, at, fmt.Sprintf("line %d of the chain stands here again, line %d belongs here", t.seq, want))
	}
	return nil
}

// disowned reports whether the line after the bad one says that the bad one is not what was written.
func (n neighbours) disowned() bool {
	t, ok := parseTail(n.next)
	return ok && t.prev != hashLine(n.bad)
}

// classifyGap names what is missing before a line that is itself sound.
func (v *verifier) classifyGap(f file, t tail, at position) {
	want := v.last.seq + 1
	switch {
	case at.line > 1:
		v.fault(Removed, at, fmt.Sprintf("lines %d to %d of the chain are missing before this line", want, t.seq-1))
	case f.number > v.number+1:
		v.fault(Removed, at, fmt.Sprintf("files %d to %d are missing before this one, with lines %d to %d of the chain", v.number+1, f.number-1, want, t.seq-1))
	default:
		v.fault(Truncated, position{file: v.seen.file, line: v.seen.line + 1},
			fmt.Sprintf("the file ends with line %d of the chain, the next begins with line %d", v.last.seq, t.seq))
	}
}

// look reads f again for the lines around at. It reads on to the end of the file: a line that is missing may be there.
func (v *verifier) look(f file, at position) (neighbours, error) {
	b, err := f.open()
	if err != nil {
		return neighbours{}, err
	}
	defer b.close()
	var n neighbours
	var bad tail
	number, back := 0, 0
	for block, err := b.next(); err == nil; block, err = b.next() {
		for _, line := range lines(block) {
			number++
			if number < at.line {
				continue
			}
			t, ok := parseTail(line)
			if number == at.line {
				n.bad, bad = slices.Clone(line), t
				if ok && t.seq <= v.last.seq {
					back = number - int(min(v.last.seq+1-t.seq, uint64(number)))
				}
				continue
			}
			if n.next == nil {
				n.next = slices.Clone(line)
			}
			n.again = n.again || ok && t.seq == bad.seq
			if n.resumed == 0 && ok && t.follows(v.last) {
				n.resumed = number
			}
		}
	}
	if n.next == nil {
		n.next = v.firstOfNext(f)
	}
	n.repeated = lineNumber(f, back)
	return n, nil
}

// firstOfNext is the first line of the file after f, nil when there is none that can be read.
func (v *verifier) firstOfNext(f file) []byte {
	i := slices.IndexFunc(v.files, func(g file) bool { return g.number > f.number })
	if i < 0 {
		return nil
	}
	return lineNumber(v.files[i], 1)
}

// lineNumber returns one line of f, counted from 1; nil when there is none.
func lineNumber(f file, want int) []byte {
	if want < 1 {
		return nil
	}
	b, err := f.open()
	if err != nil {
		return nil
	}
	defer b.close()
	number := 0
	for block, err := b.next(); err == nil; block, err = b.next() {
		for _, line := range lines(block) {
			if number++; number == want {
				return slices.Clone(line)
			}
		}
	}
	return nil
}
