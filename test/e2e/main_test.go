// Package e2e holds the end-to-end tests: the built program between the stand-in upstream and an identity provider.
package e2e

import (
	"testing"

	"corp.example/gateway/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
