package telemetry_test

import (
	"bytes"
	"strings"
	"testing"

	"corp.example/gateway/internal/telemetry"
)

func TestLogHasTheFormatAndLevelAskedFor(t *testing.T) {
	for format, want := range map[string]string{"json": `"msg":"shown"`, "text": "msg=shown"} {
		var out bytes.Buffer
		log, err := telemetry.Log(&out, "warn", format)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("hidden")
		log.Warn("shown")
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "hidden") {
			t.Errorf("%s log: %s", format, out.String())
		}
	}
	if _, err := telemetry.Log(&bytes.Buffer{}, "loud", "json"); err == nil {
		t.Error("an unknown level was taken")
	}
}

func TestRegistryDescribesTheProcess(t *testing.T) {
	families, err := telemetry.Registry().Gather()
	if err != nil || len(families) == 0 {
		t.Errorf("%d families, %v", len(families), err)
	}
}
