package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// progress is a bar on a terminal, and nothing anywhere else.
type progress struct {
	out   io.Writer // nil: not a terminal
	drawn time.Time
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	if !ok {
		return &progress{}
	}
	if _, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err != nil {
		return &progress{}
	}
	return &progress{out: f}
}

// show draws the bar, at most ten times a second: a terminal is slower than a disk.
func (p *progress) show(done, total int64) {
	if p.out == nil || time.Since(p.drawn) < 100*time.Millisecond || total == 0 {
		return
	}
	p.drawn = time.Now()
	const width = 40
	full := int(done * width / total)
	fmt.Fprintf(p.out, "\r[%s%s] %3d%% of %d MiB", strings.Repeat("=", full), strings.Repeat(" ", width-full), done*100/total, total>>20)
}

// count tells how much is done where nobody knows how much there is.
func (p *progress) count(done int, what string) {
	if p.out == nil || time.Since(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = time.Now()
	fmt.Fprintf(p.out, "\r%d %s", done, what)
}

// clear takes the bar away.
func (p *progress) clear() {
	if p.out != nil && !p.drawn.IsZero() {
		fmt.Fprintf(p.out, "\r%s\r", strings.Repeat(" ", 70))
	}
}
