package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// bounds of the duration histogram in seconds: prom-client's defaults, so that the demo shows what a stock app has.
var bounds = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// series is one combination of labels. Every value comes from a fixed set of ours: nothing that a client sends becomes a
// label, so the number of series is bounded and no value needs escaping.
type series struct {
	method string
	route  string
	code   int
}

// metrics are the request counters in the form that prom-client and its relatives give them.
type metrics struct {
	started time.Time

	mutex     sync.Mutex
	inFlight  int
	requests  map[series]uint64
	durations histogram
}

// histogram counts each observation in the first bucket that holds it; the text format wants them summed up.
type histogram struct {
	counts []uint64 // one for each bound, then one for all that is longer
	sum    float64
}

func newMetrics(started time.Time) *metrics {
	return &metrics{
		started:   started,
		requests:  map[series]uint64{},
		durations: histogram{counts: make([]uint64, len(bounds)+1)},
	}
}

func (m *metrics) begin() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.inFlight++
}

func (m *metrics) end(s series, took time.Duration) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.inFlight--
	m.requests[s]++
	// The first bound that is not below the value: le means "less or equal".
	bucket, _ := slices.BinarySearch(bounds, took.Seconds())
	m.durations.counts[bucket]++
	m.durations.sum += took.Seconds()
}

// write gives the Prometheus text format, version 0.0.4.
func (m *metrics) write(w io.Writer) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	fmt.Fprint(w, "# HELP http_requests_total Requests answered.\n# TYPE http_requests_total counter\n")
	for _, s := range slices.SortedFunc(maps.Keys(m.requests), compareSeries) {
		fmt.Fprintf(w, "http_requests_total{method=%q,route=%q,code=\"%d\"} %d\n", s.method, s.route, s.code, m.requests[s])
	}
	fmt.Fprint(w, "# HELP http_request_duration_seconds Time to answer a request.\n# TYPE http_request_duration_seconds histogram\n")
	var total uint64
	for i, bound := range bounds {
		total += m.durations.counts[i]
		fmt.Fprintf(w, "http_request_duration_seconds_bucket{le=\"%s\"} %d\n", strconv.FormatFloat(bound, 'g', -1, 64), total)
	}
	total += m.durations.counts[len(bounds)]
	fmt.Fprintf(w, "http_request_duration_seconds_bucket{le=\"+Inf\"} %d\n", total)
	fmt.Fprintf(w, "http_request_duration_seconds_sum %v\nhttp_request_duration_seconds_count %d\n", m.durations.sum, total)
	fmt.Fprintf(w, "# HELP http_requests_in_flight Requests being answered.\n# TYPE http_requests_in_flight gauge\nhttp_requests_in_flight %d\n", m.inFlight)
	fmt.Fprintf(w, "# HELP process_start_time_seconds Start of the program since the Unix epoch.\n# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %.3f\n",
		float64(m.started.UnixMilli())/1000)
}

func compareSeries(a, b series) int {
	return cmp.Or(cmp.Compare(a.route, b.route), cmp.Compare(a.method, b.method), cmp.Compare(a.code, b.code))
}
