package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"corp.example/gateway/internal/audit"
)

// people is how many callers the records come from.
const people = 10_000

// someone is the caller who is searched for.
const someone = "person-4242@corp.example"

// generate writes a log of so many records as the gateway does: one chain, with checkpoints, in files of 64 MiB, complete
// ones compressed when zip is set. It returns the bytes of the lines and of the files.
func generate(dir string, records int, zip bool) (err error) {
	log, err := audit.Open(audit.Config{Sinks: []audit.Sink{{File: &audit.FileConfig{Dir: dir}, Required: true}}})
	if err != nil {
		return err
	}
	for i := range records {
		if err := log.Outcome(context.Background(), read(i)); err != nil {
			return err
		}
	}
	if err := log.Close(); err != nil {
		return err
	}
	if zip {
		return nil
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	if err != nil || len(packed) == 0 {
		return err
	}
	out, err := exec.Command("gunzip", packed...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("gunzip: %w: %s", err, out)
	}
	return nil
}

// sizes are the bytes of the log's files, compressed and plain.
func sizes(dir string) (packed, plain int64, files []string, err error) {
	files, err = filepath.Glob(filepath.Join(dir, "*.jsonl*"))
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			return 0, 0, nil, err
		}
		if strings.HasSuffix(path, ".gz") {
			packed += info.Size()
		} else {
			plain += info.Size()
		}
	}
	return packed, plain, files, err
}

// read is one of a company's reads.
func read(i int) *audit.Record {
	return &audit.Record{
		RequestID: fmt.Sprintf("%032x", uint64(i)*0x9e3779b97f4a7c15), Operation: "v1-get-project", Method: "GET", Path: "/v1/projects/abcdefghijklmnopqrst",
		Caller: person(i), Team: "payments", Client: client(i),
		Target:     audit.Target{Kind: "project", Project: "abcdefghijklmnopqrst"},
		Decision:   audit.Decision{Allow: true, Rule: "policy.yaml:7 teams[0].allow[0]"},
		Credential: "shared", Cache: "hit", Status: 200, Outcome: "ok", Bytes: 1432,
	}
}

// write is a call about to go upstream.
func write(i int) *audit.Record {
	return &audit.Record{
		RequestID: "0123456789abcdef0123456789abcdef", Operation: "v1-bulk-create-secrets", Method: "POST", Path: "/v1/projects/abcdefghijklmnopqrst/secrets",
		Caller: person(i), Team: "payments", Client: client(i),
		Target:     audit.Target{Kind: "project", Project: "abcdefghijklmnopqrst"},
		Decision:   audit.Decision{Allow: true, Rule: "policy.yaml:7 teams[0].allow[0]"},
		Credential: "shared", BodySHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	}
}

func person(i int) audit.Caller {
	name := fmt.Sprintf("person-%d", i%people)
	return audit.Caller{Kind: "person", Issuer: "corp", Subject: name, Email: name + "@corp.example"}
}

func client(i int) audit.Client {
	return audit.Client{IP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), UserAgent: "supabase-cli/2.40.7"}
}
