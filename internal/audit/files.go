package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A chain's files are NAME-000001-20260102T150405Z.jsonl, numbered without gaps, named after the time they began, and
// compressed with a further .gz once they are complete.
var filePattern = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*)-([0-9]{6,18})-([0-9]{8}T[0-9]{6}Z)\.jsonl(\.gz)?$`)

const fileTime = "20060102T150405Z"

// file is one file of a chain.
type file struct {
	path   string
	chain  string
	number uint64
	began  time.Time // whole seconds, from its name
	gzip   bool
	size   int64 // bytes on disk when it was listed
}

func fileName(chain string, number uint64, began time.Time) string {
	return fmt.Sprintf("%s-%06d-%s.jsonl", chain, number, began.UTC().Format(fileTime))
}

func parseFileName(dir, name string) (file, bool) {
	m := filePattern.FindStringSubmatch(name)
	if m == nil {
		return file{}, false
	}
	number, err := strconv.ParseUint(m[2], 10, 64)
	began, err2 := time.Parse(fileTime, m[3])
	if err != nil || err2 != nil {
		return file{}, false
	}
	return file{path: filepath.Join(dir, name), chain: m[1], number: number, began: began, gzip: m[4] != ""}, true
}

// listFiles returns every chain's files in dir, oldest first. Where a file lies there both plain and compressed, the
// process died between compressing and removing: the plain one counts.
func listFiles(dir string) (map[string][]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing audit files: %w", err)
	}
	chains := map[string][]file{}
	for _, e := range entries {
		f, ok := parseFileName(dir, e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // compressed or retired in this moment
		}
		if err != nil {
			return nil, fmt.Errorf("listing audit files: %w", err)
		}
		f.size = info.Size()
		chains[f.chain] = append(chains[f.chain], f)
	}
	for name, files := range chains {
		slices.SortFunc(files, func(a, b file) int {
			return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(len(a.path), len(b.path)))
		})
		chains[name] = slices.CompactFunc(files, func(a, b file) bool { return a.path+".gz" == b.path })
	}
	return chains, nil
}
