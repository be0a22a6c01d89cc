// Package trust reads the certificate authorities that the other end of a connection is checked against.
//
// Invariant: an empty file name means the system's authorities; a file that holds none is an error and never trusts
// nobody or everybody by mistake.
package trust

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Roots reads PEM certificates. The pool is nil, which stands for the system's, where no file is named.
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return pool, nil
}

// Client is the configuration of a connection whose other end is checked against the authorities in file.
func Client(file string) (*tls.Config, error) {
	roots, err := Roots(file)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, nil
}
