package proxy

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/limiter"
)

// metrics are the contract's metrics. Every label is from a closed set: operation ids of the catalogue, teams of the
// policy, outcomes and statuses. Those of a request are resolved once per combination and remembered.
type metrics struct {
	requests         *prometheus.CounterVec
	duration         *prometheus.HistogramVec
	queueWait        *prometheus.HistogramVec
	upstreamRequests *prometheus.CounterVec
	upstreamDuration *prometheus.HistogramVec
	upstreamLimited  prometheus.Counter
	cacheRequests    *prometheus.CounterVec
	decisions        *prometheus.CounterVec

	lastAnswer atomic.Pointer[LastAnswer]

	answered series[answerLabels, answerCounters]
	upstream series[upstreamLabels, upstreamCounters] // of what was sent upstream
	waits    series[string, prometheus.Observer]      // queueWait by class
}

// series are the counters of each combination of labels that has come up. No sync.Map: it would allocate each key that is
// looked up.
type series[L comparable, C any] struct {
	mu sync.RWMutex
	of map[L]*C
}

// find returns the counters of labels, nil where they have not come up.
func (s *series[L, C]) find(labels L) *C {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.of[labels]
}

// keep remembers the counters of labels, and returns them.
func (s *series[L, C]) keep(labels L, counters *C) *C {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[L]*C{}
	}
	s.of[labels] = counters
	return counters
}

// upstreamLabels are the labels of an exchange with upstream.
type upstreamLabels struct {
	operation string
	status    int
}

// upstreamCounters are the metrics that one combination of them counts in.
type upstreamCounters struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

// answerLabels are the labels of a finished request.
type answerLabels struct {
	operation, team, outcome string
	status                   int
	cache                    string
	decision                 string
}

// answerCounters are the metrics that one combination of labels counts in.
type answerCounters struct {
	requests, cache, decision prometheus.Counter
	duration                  prometheus.ExemplarObserver
}

// durationBuckets reach from a cached answer to the longest wait in the queue.
var durationBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}

func newMetrics(registry prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: durationBuckets, NativeHistogramBucketFactor: 1.1}, labels)
		registry.MustRegister(h)
		return h
	}
	m := &metrics{
		requests:         counter("gateway_requests_total", "Requests answered.", "operation", "team", "outcome", "code"),
		duration:         histogram("gateway_request_duration_seconds", "Time from a request's header to the end of its answer.", "operation"),
		queueWait:        histogram("gateway_queue_wait_seconds", "Time a request waited for a slot of upstream's quota, whether or not it came.", "class"),
		upstreamRequests: counter("gateway_upstream_requests_total", "Requests sent upstream, by the status of the answer (0: none came).", "operation", "code"),
		upstreamDuration: histogram("gateway_upstream_duration_seconds", "Time from sending a request upstream to the header of its answer.", "operation"),
		cacheRequests:    counter("gateway_cache_requests_total", "Calls by how the cache served them; bypass: it stayed out of it, as of every write.", "status"),
		decisions:        counter("gateway_policy_decisions_total", "Decisions of the policy; shadow_allow and shadow_deny: what a rule on trial would have decided otherwise.", "decision"),
		upstreamLimited:  prometheus.NewCounter(prometheus.CounterOpts{Name: "gateway_upstream_rate_limited_total", Help: "429 answers from upstream; the queue is there to keep this at 0."}),
	}
	registry.MustRegister(m.upstreamLimited)
	return m
}

// count counts a finished request. trace is the one its duration points at as an exemplar, "" for none.
func (m *metrics) count(labels answerLabels, took time.Duration, trace string) {
	counters := m.answered.find(labels)
	if counters == nil {
		counters = m.answered.keep(labels, m.resolve(labels))
	}
	counters.requests.Inc()
	var exemplar prometheus.Labels
	if trace != "" {
		exemplar = prometheus.Labels{"trace_id": trace}
	}
	counters.duration.ObserveWithExemplar(took.Seconds(), exemplar)
	if counters.cache != nil {
		counters.cache.Inc()
	}
	if counters.decision != nil {
		counters.decision.Inc()
	}
}

func (m *metrics) resolve(labels answerLabels) *answerCounters {
	counters := &answerCounters{
		requests: m.requests.WithLabelValues(labels.operation, labels.team, labels.outcome, strconv.Itoa(labels.status)),
		duration: m.duration.WithLabelValues(labels.operation).(prometheus.ExemplarObserver), // every histogram is one
	}
	if labels.cache != "" {
		counters.cache = m.cacheRequests.WithLabelValues(labels.cache)
	}
	if labels.decision != "" {
		counters.decision = m.decisions.WithLabelValues(labels.decision)
	}
	return counters
}

// queued counts one wait in the queue.
func (m *metrics) queued(class string, waited time.Duration) {
	observer := m.waits.find(class)
	if observer == nil {
		resolved := m.queueWait.WithLabelValues(class)
		observer = m.waits.keep(class, &resolved)
	}
	(*observer).Observe(waited.Seconds())
}

// upstreamAnswered counts one exchange with upstream, which ended at the time given; status 0 means that no answer came.
func (m *metrics) upstreamAnswered(op *catalog.Operation, status int, ended time.Time, took time.Duration) {
	labels := upstreamLabels{op.ID, status}
	counters := m.upstream.find(labels)
	if counters == nil {
		counters = m.upstream.keep(labels, &upstreamCounters{m.upstreamRequests.WithLabelValues(op.ID, strconv.Itoa(status)), m.upstreamDuration.WithLabelValues(op.ID)})
	}
	counters.requests.Inc()
	counters.duration.Observe(took.Seconds())
	m.lastAnswer.Store(&LastAnswer{Status: status, At: ended})
}

// state is the metrics that are read from the parts that keep the state, at each scrape.
type state struct {
	cache       *cache.Cache
	limiter     limiter.Limiter
	audit       *audit.Log
	credentials *credential.Set
	classes     []string // limit classes of the catalogue
}

func newState(config Config) state {
	s := state{cache: config.Cache, limiter: config.Limiter, audit: config.Audit, credentials: config.Credentials}
	for _, op := range config.Catalog.Operations() {
		if !slices.Contains(s.classes, op.Class.Name) {
			s.classes = append(s.classes, op.Class.Name)
		}
	}
	return s
}

var (
	cacheBytes       = prometheus.NewDesc("gateway_cache_bytes", "Memory the cache's entries take.", nil, nil)
	cacheEntries     = prometheus.NewDesc("gateway_cache_entries", "Answers the cache holds.", nil, nil)
	cacheTrusted     = prometheus.NewDesc("gateway_cache_trusted", "1 while this replica hears of the other replicas' writes and believes its memory; without state.redis there is no such series.", nil, nil)
	cacheOutages     = prometheus.NewDesc("gateway_cache_outages_total", "How often this replica forgot its memory, since it may have missed a write; the start counts as one.", nil, nil)
	cacheShared      = prometheus.NewDesc("gateway_cache_shared_total", "Look-ups in the cache that the replicas share; waited: another replica's fetch brought the answer.", []string{"result"}, nil)
	cacheWrites      = prometheus.NewDesc("gateway_cache_invalidations_total", "Writes by how the other replicas took them; outlasted: one did not acknowledge and must have stopped believing its memory; unanswered: Redis was away.", []string{"result"}, nil)
	queueDepth       = prometheus.NewDesc("gateway_queue_depth", "Requests waiting for a slot of upstream's quota.", []string{"class"}, nil)
	auditRecords     = prometheus.NewDesc("gateway_audit_records_total", "Records of the audit log by what became of them.", []string{"sink", "result"}, nil)
	credentialEnd    = prometheus.NewDesc("gateway_credential_expires_timestamp_seconds", "When the credential's token ends by its configured date, in Unix time.", []string{"credential"}, nil)
	credentialHealth = prometheus.NewDesc("gateway_credential_healthy", "1 while upstream accepts the credential.", []string{"credential"}, nil)
)

// Describe implements prometheus.Collector.
func (s state) Describe(out chan<- *prometheus.Desc) {
	out <- cacheBytes
	out <- cacheEntries
	out <- cacheTrusted
	out <- cacheOutages
	out <- cacheShared
	out <- cacheWrites
	out <- queueDepth
	out <- auditRecords
	out <- credentialHealth
	out <- credentialEnd
}

// Collect implements prometheus.Collector.
func (s state) Collect(out chan<- prometheus.Metric) {
	stats := s.cache.Stats()
	out <- prometheus.MustNewConstMetric(cacheBytes, prometheus.GaugeValue, float64(stats.Bytes))
	out <- prometheus.MustNewConstMetric(cacheEntries, prometheus.GaugeValue, float64(stats.Entries))
	s.collectShared(out)
	waiting := s.limiter.Waiting() // of this replica: the sum over replicas is how many wait
	for _, class := range s.classes {
		out <- prometheus.MustNewConstMetric(queueDepth, prometheus.GaugeValue, float64(waiting[class]), class)
	}
	for i, sink := range s.audit.Stats() {
		name := sink.Sink
		if i > 0 {
			name += strconv.Itoa(i + 1) // two sinks of one kind are two series
		}
		for result, n := range map[string]uint64{"recorded": sink.Recorded, "failed": sink.Failed, "dropped": sink.Dropped} {
			out <- prometheus.MustNewConstMetric(auditRecords, prometheus.CounterValue, float64(n), name, result)
		}
	}
	for _, c := range s.credentials.All() {
		healthy := 0.0
		if c.Healthy() { // read at each scrape: a replaced secret counts as good before upstream has seen it
			healthy = 1
		}
		out <- prometheus.MustNewConstMetric(credentialHealth, prometheus.GaugeValue, healthy, c.Name())
		if ends := c.Expires(); !ends.IsZero() {
			out <- prometheus.MustNewConstMetric(credentialEnd, prometheus.GaugeValue, float64(ends.Unix()), c.Name())
		}
	}
}

// collectShared tells of the cache's work with other replicas.
func (s state) collectShared(out chan<- prometheus.Metric) {
	shared, ok := s.cache.SharedStats()
	if !ok {
		return
	}
	trusted := 0.0
	if shared.Trusted {
		trusted = 1
	}
	out <- prometheus.MustNewConstMetric(cacheTrusted, prometheus.GaugeValue, trusted)
	out <- prometheus.MustNewConstMetric(cacheOutages, prometheus.CounterValue, float64(shared.Outages))
	for result, n := range map[string]uint64{"hit": shared.Found, "waited": shared.Waited, "miss": shared.Missed, "failed": shared.Failed} {
		out <- prometheus.MustNewConstMetric(cacheShared, prometheus.CounterValue, float64(n), result)
	}
	for result, n := range map[string]uint64{"acknowledged": shared.Acknowledged, "outlasted": shared.Outlasted, "unanswered": shared.Unanswered} {
		out <- prometheus.MustNewConstMetric(cacheWrites, prometheus.CounterValue, float64(n), result)
	}
}
