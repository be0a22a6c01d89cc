package limiter

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

var errCorrupt = errors.New("the limiter's record in Redis cannot be read")

// codec writes values to bytes, or reads them back, in the order it is shown them: one description of a form serves both
// directions. After the first value that cannot be read it only returns zeroes, and bad is set.
type codec struct {
	bytes   []byte
	reading bool
	bad     bool
	shift   time.Duration // added to every time that is written
}

// maxElements bounds what a corrupt length can make it allocate: more than the waiters and claims of one scope.
const maxElements = 1 << 17

func (c *codec) int64(v *int64) {
	if !c.reading {
		c.bytes = binary.AppendVarint(c.bytes, *v)
		return
	}
	n, length := binary.Varint(c.bytes)
	if length <= 0 {
		c.bad, c.bytes, *v = true, nil, 0
		return
	}
	c.bytes, *v = c.bytes[length:], n
}

// integer covers everything that is a number here.
func integer[T ~int | ~int64 | ~uint64 | ~uint8](c *codec, v *T) {
	n := int64(*v)
	c.int64(&n)
	if c.reading { // what is written may be read by others meanwhile
		*v = T(n)
	}
}

func (c *codec) bool(v *bool) {
	n := 0
	if *v {
		n = 1
	}
	integer(c, &n)
	if c.reading {
		*v = n == 1
	}
}

func (c *codec) float(v *float64) {
	n := int64(math.Float64bits(*v))
	c.int64(&n)
	if c.reading {
		*v = math.Float64frombits(uint64(n))
	}
}

func (c *codec) text(v *string) {
	n := len(*v)
	integer(c, &n)
	if !c.reading {
		c.bytes = append(c.bytes, *v...)
		return
	}
	if n < 0 || n > len(c.bytes) {
		c.bad, c.bytes, *v = true, nil, ""
		return
	}
	*v, c.bytes = string(c.bytes[:n]), c.bytes[n:]
}

// duration keeps microseconds, which is what Redis's clock tells.
func (c *codec) duration(v *time.Duration) {
	n := int64(*v / time.Microsecond)
	c.int64(&n)
	if c.reading {
		*v = time.Duration(n) * time.Microsecond
	}
}

func (c *codec) time(v *time.Time) {
	n := int64(0)
	if !v.IsZero() {
		n = v.Add(c.shift).UnixMicro()
	}
	c.int64(&n)
	if c.reading {
		*v = time.Time{}
		if n != 0 {
			*v = time.UnixMicro(n)
		}
	}
}

// elements shows each element of v to each.
func elements[T any](c *codec, v *[]T, each func(*T)) {
	n := len(*v)
	integer(c, &n)
	if c.reading {
		if n < 0 || n > maxElements {
			c.bad, c.bytes = true, nil
			return
		}
		*v = nil
	}
	for i := range n {
		if c.reading {
			if c.bad {
				return
			}
			var element T
			each(&element)
			*v = append(*v, element)
			continue
		}
		each(&(*v)[i])
	}
}
