// Command audit measures the audit log against what it promises, each beside a yardstick in the same run:
//
//	go run ./bench/audit intents                                    durable intents against one fsync a line
//	go run ./bench/audit read                                         what the log costs a cached read
//	go run ./bench/audit search -gateway ./gateway -records 10000000   search against zgrep and zcat, memory too
//	go run ./bench/audit verify -gateway ./gateway                    verification of 1 GB against cat
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func main() {
	kinds := map[string]func(args []string, out io.Writer) error{"intents": intents, "read": cachedRead, "search": search, "verify": verify}
	if len(os.Args) < 2 || kinds[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "bench/audit: name what to measure: intents, read, search or verify")
		os.Exit(2)
	}
	if err := kinds[os.Args[1]](os.Args[2:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench/audit:", err)
		os.Exit(1)
	}
}

// withFolder runs do with a new folder within parent and removes it.
func withFolder(parent string, do func(dir string) error) error {
	dir, err := os.MkdirTemp(parent, "audit-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return do(dir)
}

// field reads a number behind its name, as /proc writes them; 0 where it is missing.
func field(text, name string) int64 {
	_, after, found := strings.Cut(text, name)
	words := strings.Fields(after)
	if !found || len(words) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
