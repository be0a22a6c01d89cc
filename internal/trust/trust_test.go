package trust_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"corp.example/gateway/internal/trust"
)

// authority is a self-signed certificate that nothing was ever signed with.
const authority = `-----BEGIN CERTIFICATE-----
MIIBdDCCARmgAwIBAgIBATAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDEwR0ZXN0MB4X
-----END CERTIFICATE-----
`

func TestAuthoritiesAreTheFilesOrTheSystems(t *testing.T) {
	if config, err := trust.Client(""); err != nil || config.RootCAs != nil {
		t.Errorf("without a file: %v, %v, want the system's", config, err)
	}
	if _, err := trust.Client(filepath.Join(t.TempDir(), "none.pem")); err == nil || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("a missing file: %v", err)
	}
	for name, content := range map[string]string{"empty": "", "text": "not a certificate", "broken": authority} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if config, err := trust.Client(file); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
			t.Errorf("%s: %v, %v, want it refused: it would trust nobody", name, config, err)
		}
	}
}
