package proxy

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"corp.example/gateway/internal/identity"
)

// profile is the answer of GET /v1/profile in upstream's own form.
type profile struct {
	GotrueID     string `json:"gotrue_id"`
	PrimaryEmail string `json:"primary_email"`
	Username     string `json:"username"`
}

// profileOf describes the caller. Clients expect a UUID: it is made from issuer and subject, so that the same person
// always has the same one and two issuers never share one (RFC 9562 section 5.8).
func profileOf(c *identity.Caller) profile {
	sum := sha256.Sum256([]byte(c.Issuer + "\x00" + c.Subject))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	username, _, _ := strings.Cut(c.Email, "@")
	if username == "" {
		username = c.Subject
	}
	return profile{
		GotrueID:     fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]),
		PrimaryEmail: c.Email,
		Username:     username,
	}
}

func writeJSON(w http.ResponseWriter, r *http.Request, value any) (int64, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "private, no-store")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return 0, nil
	}
	n, err := w.Write(data)
	return int64(n), err
}
