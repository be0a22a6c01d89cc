package sandbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
)

// The answers of operations without state of their own, and the settings every project starts with. "{ref}" in them
// stands for the project's ref.
//
//go:embed answers/*.json
var answerFiles embed.FS

// answerFile returns one file, which the build has embedded: a wrong name is a fault of this package.
func answerFile(name string) []byte {
	data, err := answerFiles.ReadFile("answers/" + name + ".json")
	if err != nil {
		panic(fmt.Sprintf("sandbox: %v", err))
	}
	return data
}

func forProject(data []byte, ref string) []byte {
	return bytes.ReplaceAll(data, []byte("{ref}"), []byte(ref))
}

// decoded reads an embedded answer into v.
func decoded(data []byte, v any) {
	if err := json.Unmarshal(data, v); err != nil {
		panic(fmt.Sprintf("sandbox: embedded answer: %v", err))
	}
}
