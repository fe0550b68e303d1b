package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// shop answers requests and counts them.
type shop struct {
	settings settings
	started  time.Time
	metrics  *metrics
	draining atomic.Bool
}

// answer is the body of every answer of the shop's own page.
type answer struct {
	Version string `json:"version"`
	Pod     string `json:"pod"`
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

func newShop(s settings) *shop {
	started := time.Now()
	return &shop{settings: s, started: started, metrics: newMetrics(started)}
}

// pages are the shop and its probes. Probes are not counted as requests: the kubelet's own successes would thin out the
// failures of the users.
func (s *shop) pages() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/health/live", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("/health/ready", s.ready)
	mux.HandleFunc("/", s.page)
	return mux
}

func (s *shop) writeMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	s.metrics.write(w)
}

func (s *shop) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case s.settings.notReady:
		http.Error(w, "NOT_READY is set", http.StatusServiceUnavailable)
	case s.draining.Load():
		http.Error(w, "draining", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ready")
	}
}

func (s *shop) page(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	s.metrics.begin()
	known := r.Method == http.MethodGet || r.Method == http.MethodHead
	counted := series{method: "other", route: "other", code: http.StatusOK}
	if known {
		counted.method = r.Method
	}
	if r.URL.Path == "/" {
		counted.route = "/"
	}
	reply := answer{Version: s.settings.version, Pod: s.settings.podName, Message: s.settings.message}
	switch {
	case counted.route == "other":
		counted.code, reply.Error = http.StatusNotFound, "no such page"
	case !known:
		counted.code, reply.Error = http.StatusMethodNotAllowed, "only GET and HEAD"
	default:
		burn(time.Duration(s.settings.cpuMS * float64(time.Millisecond)))
		wait(r, s.settings.latency(rand.NormFloat64()))
		if s.settings.fails(time.Since(s.started), rand.Float64()) {
			counted.code, reply.Error = http.StatusInternalServerError, "this version fails"
		}
	}
	// Counted before the answer leaves: whoever has read an answer finds it in /metrics.
	s.metrics.end(counted, time.Since(began))

	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Version", s.settings.version)
	w.WriteHeader(counted.code)
	_ = json.NewEncoder(w).Encode(reply) // a client that has gone away is no concern of ours
}

// wait sleeps, but not longer than the client is there.
func wait(r *http.Request, duration time.Duration) {
	if duration <= 0 {
		return
	}
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

// burn keeps a processor busy.
func burn(duration time.Duration) {
	for end := time.Now().Add(duration); time.Now().Before(end); {
	}
}
