package problem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/problem"
)

func TestTheClientReadsTheMessageAndTheLogTheDetail(t *testing.T) {
	refused := problem.New(http.StatusForbidden, problem.Denied, "Team %s may not.", "payments").Because(errors.New("detail for the log"))
	refused.Missing = []string{"database:read"}
	w := httptest.NewRecorder()
	written := problem.Write(w, "id-1", fmt.Errorf("serving: %w", refused))
	if w.Code != http.StatusForbidden || written != w.Body.Len() || strings.Contains(w.Body.String(), "detail") {
		t.Errorf("answered %d, %d bytes: %s", w.Code, written, w.Body)
	}
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body["message"] != "Team payments may not." || body["code"] != "denied" || body["request_id"] != "id-1" || fmt.Sprint(body["missing"]) != "[database:read]" {
		t.Errorf("body %v, %v", body, err)
	}
	if !strings.Contains(refused.Error(), "detail for the log") || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("log text %q, headers %v", refused, w.Header())
	}
}

func TestAnUnknownErrorIsABare500(t *testing.T) {
	w := httptest.NewRecorder()
	problem.Write(w, "id-2", errors.New("dial tcp 10.0.0.1: secret"))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), `"code":"internal"`) {
		t.Errorf("answered %d: %s", w.Code, w.Body)
	}
}

func TestRetryAfterIsInWholeSecondsRoundedUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "", time.Millisecond: "1", time.Second: "1", 1500 * time.Millisecond: "2"} {
		refused := problem.New(http.StatusTooManyRequests, problem.QueueTimeout, "Later.")
		refused.RetryAfter = wait
		w := httptest.NewRecorder()
		problem.Write(w, "id-3", refused)
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("after %v: Retry-After %q, want %q", wait, got, want)
		}
	}
}

func TestBecauseLeavesTheOriginalAlone(t *testing.T) {
	shared := problem.New(http.StatusNotFound, problem.UnknownOperation, "Not here.")
	_ = shared.Because(errors.New("one request's detail"))
	if shared.Err != nil {
		t.Error("a shared problem carries one request's detail")
	}
}
