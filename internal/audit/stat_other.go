//go:build !linux

package audit

import (
	"io/fs"
	"os"
)

// standing is what stands at a path.
type standing struct {
	info fs.FileInfo
	size int64
}

func look(path string) (standing, error) {
	info, err := os.Stat(path)
	if err != nil {
		return standing{}, err
	}
	return standing{info: info, size: info.Size()}, nil
}

func (s standing) same(as standing) bool { return os.SameFile(s.info, as.info) }
