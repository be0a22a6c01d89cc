package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Certificate is a TLS certificate from two files, taken up again when they change.
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// LoadCertificate reads a certificate and its key.
func LoadCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	return c, c.reload()
}

func (c *Certificate) reload() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

// certificateEvery is how often the files are read again: a renewed certificate has days to be taken up.
const certificateEvery = time.Minute

// Watch takes up changed files until ctx ends. Files that cannot be read, or that are half replaced, keep the certificate
// before them in use.
func (c *Certificate) Watch(ctx context.Context, log *slog.Logger) {
	for tick := time.NewTicker(certificateEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		if err := c.reload(); err != nil {
			log.Error("certificate cannot be read again; the one before stays in use", "error", err)
		}
	}
}

// Expires is when the certificate in use ends.
func (c *Certificate) Expires() time.Time { return c.current.Load().Leaf.NotAfter }

// TLSConfig is what a listener serves with: always the certificate in use.
func (c *Certificate) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}
