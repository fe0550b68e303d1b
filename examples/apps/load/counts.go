package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// most versions that are counted apart; the rest is "other", so a target cannot fill the generator's memory.
const most = 256

// localPort is what differs between failures of the same kind.
var localPort = regexp.MustCompile(`[0-9.]+:[0-9]+->`)

// counts is what happened so far. A request is failed unless its answer is 2xx and complete.
type counts struct {
	target  string
	started time.Time

	mutex      sync.Mutex
	sent       uint64
	skipped    uint64
	unanswered uint64
	lastError  string
	lost       map[string]*lostCounts
	versions   map[string]*versionCounts
	latencies  latencies
}

// lostCounts is requests that no version has answered, of one kind.
type lostCounts struct {
	count       uint64
	first, last time.Duration
}

type versionCounts struct {
	ok, failed  uint64
	first, last time.Duration
	latencies   latencies
}

// summary is counts as JSON. Times are seconds since the start of the load.
type summary struct {
	Target  string  `json:"target"`
	Seconds float64 `json:"seconds"`
	Done    bool    `json:"done"`
	// Sent = ok + failed + those still running.
	Sent   uint64 `json:"sent"`
	OK     uint64 `json:"ok"`
	Failed uint64 `json:"failed"`
	// Unanswered are failed without any version: refused, reset, timed out, or answered by something else.
	Unanswered uint64 `json:"unanswered"`
	// Skipped were due but not sent, because too many were running.
	Skipped   uint64 `json:"skipped"`
	LastError string `json:"lastError,omitempty"`
	// Lost are the unanswered by what was seen of them.
	Lost     map[string]lostSummary    `json:"lost"`
	Latency  percentiles               `json:"latencyMilliseconds"`
	Versions map[string]versionSummary `json:"versions"`
}

type lostSummary struct {
	Count     uint64  `json:"count"`
	FirstSeen float64 `json:"firstSeenSeconds"`
	LastSeen  float64 `json:"lastSeenSeconds"`
}

type versionSummary struct {
	OK        uint64      `json:"ok"`
	Failed    uint64      `json:"failed"`
	FirstSeen float64     `json:"firstSeenSeconds"`
	LastSeen  float64     `json:"lastSeenSeconds"`
	Latency   percentiles `json:"latencyMilliseconds"`
}

type percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// outcome is what came of one request. version is empty where no answer named one.
type outcome struct {
	version string
	err     error
	took    time.Duration
}

func newCounts(target string, started time.Time) *counts {
	return &counts{target: target, started: started, versions: map[string]*versionCounts{}, lost: map[string]*lostCounts{}}
}

func (c *counts) send() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.sent++
}

func (c *counts) skip() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.skipped++
}

func (c *counts) add(o outcome, now time.Time) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if o.err != nil {
		c.lastError = o.err.Error()
	}
	if o.version == "" && o.err != nil {
		c.unanswered++
		c.lose(o.err.Error(), now.Sub(c.started))
		return
	}
	name := label(o.version)
	version, known := c.versions[name]
	if !known {
		if len(c.versions) >= most {
			name = "other"
			version = c.versions[name]
		}
		if version == nil {
			version = &versionCounts{first: now.Sub(c.started)}
			c.versions[name] = version
		}
	}
	version.last = now.Sub(c.started)
	if o.err != nil {
		version.failed++
	} else {
		version.ok++
	}
	version.latencies.add(o.took)
	c.latencies.add(o.took)
}

// lose remembers what was seen of a request that no version has answered.
func (c *counts) lose(seen string, at time.Duration) {
	seen = localPort.ReplaceAllString(seen, "")
	if _, known := c.lost[seen]; !known && len(c.lost) >= most {
		seen = "other"
	}
	if _, known := c.lost[seen]; !known {
		c.lost[seen] = &lostCounts{first: at}
	}
	c.lost[seen].count++
	c.lost[seen].last = at
}

// label makes a version safe to print and to use as the value of a metric's label.
func label(version string) string {
	if version == "" {
		return "none"
	}
	return strings.Map(func(r rune) rune {
		if r < 128 && (strings.ContainsRune("._-+", r) || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return '_'
	}, version[:min(len(version), 64)])
}

func (c *counts) summary(now time.Time, done bool) summary {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	s := summary{
		Target: c.target, Seconds: now.Sub(c.started).Seconds(), Done: done,
		Sent: c.sent, Failed: c.unanswered, Unanswered: c.unanswered, Skipped: c.skipped, LastError: c.lastError,
		Latency: c.latencies.summary(), Versions: map[string]versionSummary{},
		Lost: map[string]lostSummary{},
	}
	for seen, lost := range c.lost {
		s.Lost[seen] = lostSummary{Count: lost.count, FirstSeen: lost.first.Seconds(), LastSeen: lost.last.Seconds()}
	}
	for name, version := range c.versions {
		s.OK += version.ok
		s.Failed += version.failed
		s.Versions[name] = versionSummary{
			OK: version.ok, Failed: version.failed, Latency: version.latencies.summary(),
			FirstSeen: version.first.Seconds(), LastSeen: version.last.Seconds(),
		}
	}
	return s
}

func (l *latencies) summary() percentiles {
	milliseconds := func(d time.Duration) float64 {
		return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
	}
	return percentiles{
		P50: milliseconds(l.percentile(0.50)), P90: milliseconds(l.percentile(0.90)),
		P99: milliseconds(l.percentile(0.99)), Max: milliseconds(l.max),
	}
}

// line is the summary for people.
func (s summary) line() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%4.0f s  sent %d, ok %d, failed %d", s.Seconds, s.Sent, s.OK, s.Failed)
	for _, name := range slices.Sorted(maps.Keys(s.Versions)) {
		fmt.Fprintf(&text, " | version %s: ok %d, failed %d", name, s.Versions[name].OK, s.Versions[name].Failed)
	}
	if s.Unanswered > 0 {
		fmt.Fprintf(&text, " | unanswered %d (%s)", s.Unanswered, s.LastError)
	}
	if s.Skipped > 0 {
		fmt.Fprintf(&text, " | not sent %d", s.Skipped)
	}
	fmt.Fprintf(&text, " | p50 %.1f ms, p99 %.1f ms", s.Latency.P50, s.Latency.P99)
	return text.String()
}

// writeMetrics gives the summary in the Prometheus text format.
func (s summary) writeMetrics(w io.Writer) {
	fmt.Fprintf(w, "# HELP load_requests_sent_total Requests sent.\n# TYPE load_requests_sent_total counter\nload_requests_sent_total %d\n", s.Sent)
	fmt.Fprintf(w, "# HELP load_requests_skipped_total Requests due but not sent.\n# TYPE load_requests_skipped_total counter\nload_requests_skipped_total %d\n", s.Skipped)
	fmt.Fprint(w, "# HELP load_requests_total Requests ended, by version and outcome.\n# TYPE load_requests_total counter\n")
	for _, name := range slices.Sorted(maps.Keys(s.Versions)) {
		fmt.Fprintf(w, "load_requests_total{version=%q,outcome=\"ok\"} %d\n", name, s.Versions[name].OK)
		fmt.Fprintf(w, "load_requests_total{version=%q,outcome=\"failed\"} %d\n", name, s.Versions[name].Failed)
	}
	fmt.Fprintf(w, "load_requests_total{version=\"\",outcome=\"unanswered\"} %d\n", s.Unanswered)
}
