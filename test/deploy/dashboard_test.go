package deploy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// dashboardQueries are the queries of the dashboard by their panel, with its variables filled in.
func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title, Type, Description string
			Targets                  []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, file("grafana/dashboard.json"))), &dashboard); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "5s", "$job", "gateway")
	queries := map[string]string{}
	section := ""
	for _, panel := range dashboard.Panels {
		if panel.Type == "row" {
			section = panel.Title
			continue
		}
		if len(panel.Targets) == 0 || panel.Description == "" {
			t.Errorf("panel %s has %d queries and the description %q", panel.Title, len(panel.Targets), panel.Description)
		}
		for _, target := range panel.Targets {
			queries[section+" / "+panel.Title+" "+target.RefID] = fill.Replace(target.Expr)
		}
	}
	return queries
}

func TestEveryQueryOfTheDashboardReturnsDataOfAGatewayUnderLoad(t *testing.T) {
	harness.Need(t, []string{"prometheus"}, nil)
	t.Parallel()
	queries := dashboardQueries(t)
	g := harness.Start(t, harness.Options{Sandbox: func(c *sandbox.Config) {
		c.Limits = sandbox.LimitConfig{Window: time.Second, Outsider: 0.3}                           // others spend the quota too
		c.Faults.Rules = []sandbox.Fault{{Kind: sandbox.FaultStatus, Status: 503, Probability: 0.1}} // and upstream has a bad day
	}})
	prometheus := startPrometheus(t, g.AdminURL)
	for deadline := time.Now().Add(time.Minute); len(queries) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("no data after a minute for %d queries:\n%s", len(queries), strings.Join(slices.Sorted(maps.Keys(queries)), "\n"))
		}
		load(g)
		for panel, query := range queries {
			if prometheus.hasData(t, query) {
				delete(queries, panel)
			}
		}
	}
}

// histogram_count knows native histograms only: of the classic ones there would be no data.
func TestAPrometheusThatAsksForNativeHistogramsGetsThem(t *testing.T) {
	harness.Need(t, []string{"prometheus"}, nil)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	load(g)
	prometheus := startPrometheus(t, g.AdminURL, "--enable-feature=native-histograms")
	for deadline := time.Now().Add(30 * time.Second); !prometheus.hasData(t, `histogram_count(gateway_request_duration_seconds) > 0`); time.Sleep(100 * time.Millisecond) { // it scrapes twice a second
		if time.Now().After(deadline) {
			t.Fatal("no native histogram after 30 s")
		}
	}
}

// load is a bit of everything: reads that the cache serves and does not, writes, refusals, and strangers.
func load(g *harness.Gateway) {
	ada, bob := g.JWT("ada"), g.JWT("bob")
	for range 5 {
		g.Get(ada, "/v1/projects")
		g.Get(ada, "/v1/projects/"+sandbox.Payments, "Cache-Control", "no-cache")
		g.Get(bob, "/v1/projects/"+sandbox.Payments)
		g.Get("", "/v1/projects")
		g.Do(ada, http.MethodPost, "/v1/projects/"+sandbox.Payments+"/secrets", `[{"name":"A","value":"b"}]`)
	}
}

type prometheusServer struct{ url string }

// startPrometheus runs a Prometheus with the rules, and with further flags, that scrapes a gateway's admin listener as the job
// "gateway".
func startPrometheus(t *testing.T, admin string, flags ...string) prometheusServer {
	t.Helper()
	address := harness.FreeAddress(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `global: {scrape_interval: 500ms, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs: [{job_name: gateway, static_configs: [{targets: [%q]}]}]
`, file("prometheus/rules.yaml"), strings.TrimPrefix(admin, "http://")), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command := exec.Command("prometheus", append(flags, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)...)
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // killed
		if t.Failed() {
			t.Logf("Prometheus's log:\n%s", read(t, log.Name()))
		}
	})
	server := prometheusServer{"http://" + address}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) { // another process has no other way to tell
		response, err := http.Get(server.url + "/-/ready")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return server
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("Prometheus is not ready after 30 s")
		}
	}
}

// hasData reports whether a query returns a number now.
func (p prometheusServer) hasData(t *testing.T, query string) bool {
	t.Helper()
	response, err := http.Get(p.url + "/api/v1/query?" + url.Values{"query": {query}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v %s", query, err, answer.Error)
	}
	return slices.ContainsFunc(answer.Data.Result, func(sample struct{ Value [2]any }) bool {
		text, _ := sample.Value[1].(string)
		number, err := strconv.ParseFloat(text, 64)
		return err == nil && !math.IsNaN(number)
	})
}
