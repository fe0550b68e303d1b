package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, args []string, environment map[string]string) (settings, error) {
	t.Helper()
	return readSettings(args, func(name string) (string, bool) {
		value, found := environment[name]
		return value, found
	}, io.Discard)
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.env")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSettingsCommandLineThenEnvironmentThenFile(t *testing.T) {
	file := configFile(t, "# the shop\n\nFAIL_PERCENT = 5\nMESSAGE=from = file\nVERSION=file\nLATENCY_MS=7\n")
	s, err := parse(t, []string{"--version", "flag"}, map[string]string{
		"CONFIG_FILE": file, "VERSION": "environment", "LATENCY_MS": "8", "NOT_READY": "true",
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.version != "flag" || s.latencyMS != 8 || s.failPercent != 5 || s.message != "from = file" || !s.notReady {
		t.Errorf("got %+v", s)
	}
	if s.crashAfterSeconds >= 0 {
		t.Errorf("without CRASH_AFTER_SECONDS the shop must not crash, got %v", s.crashAfterSeconds)
	}
}

func TestSettingsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		args        []string
		environment map[string]string
		file        string
		message     string
	}{
		"more than all":         {environment: map[string]string{"FAIL_PERCENT": "101"}, message: "FAIL_PERCENT is 101"},
		"not a number":          {environment: map[string]string{"FAIL_PERCENT": "NaN"}, message: "FAIL_PERCENT is NaN"},
		"a word":                {environment: map[string]string{"LATENCY_MS": "fast"}, message: `LATENCY_MS "fast"`},
		"negative":              {args: []string{"--leak-mib-per-second=-1"}, message: "LEAK_MIB_PER_SECOND is -1"},
		"argument":              {args: []string{"now"}, message: `unexpected argument "now"`},
		"no such file":          {environment: map[string]string{"CONFIG_FILE": "/nowhere/shop.env"}, message: "/nowhere/shop.env"},
		"unknown setting":       {file: "FAIL_PERCENTAGE=5", message: `unknown setting "FAIL_PERCENTAGE"`},
		"a file names a file":   {file: "CONFIG_FILE=x", message: `unknown setting "CONFIG_FILE"`},
		"line without a value":  {file: "\nFAIL_PERCENT", message: "line 2: expected NAME=value"},
		"file with a bad value": {file: "FAIL_PERCENT=lots", message: `FAIL_PERCENT "lots"`},
	} {
		t.Run(name, func(t *testing.T) {
			if c.file != "" {
				c.environment = map[string]string{"CONFIG_FILE": configFile(t, c.file)}
			}
			_, err := parse(t, c.args, c.environment)
			if err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("expected %q, got %v", c.message, err)
			}
		})
	}
}

func TestFails(t *testing.T) {
	for _, c := range []struct {
		why      string
		percent  float64
		after    float64
		uptime   time.Duration
		draw     float64
		expected bool
	}{
		{"a good version never fails", 0, 0, time.Hour, 0, false},
		{"100 percent is every request", 100, 0, 0, math.Nextafter(1, 0), true},
		{"below the share", 5, 0, time.Second, 0.049, true},
		{"at the share", 5, 0, time.Second, 0.05, false},
		{"not yet", 5, 600, 599 * time.Second, 0, false},
		{"bad after ten minutes", 5, 600, 600 * time.Second, 0, true},
	} {
		s := settings{failPercent: c.percent, failAfterSeconds: c.after}
		if got := s.fails(c.uptime, c.draw); got != c.expected {
			t.Errorf("%s: got %v", c.why, got)
		}
	}
}

func TestLatencyIsAMedianWithATailThatEnds(t *testing.T) {
	s := settings{latencyMS: 20}
	if got := s.latency(0); got != 20*time.Millisecond {
		t.Errorf("median: %v", got)
	}
	if p99 := s.latency(2.326); p99 < 60*time.Millisecond || p99 > 70*time.Millisecond {
		t.Errorf("99th percentile: %v", p99)
	}
	if s.latency(40) != s.latency(3) || s.latency(-40) != s.latency(-3) {
		t.Error("the tail must be cut at three standard deviations")
	}
	if (settings{}).latency(3) != 0 {
		t.Error("no latency asked, some given")
	}
}

func get(t *testing.T, handler http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
	return recorder
}

func TestPages(t *testing.T) {
	for _, c := range []struct {
		why      string
		settings settings
		method   string
		path     string
		code     int
	}{
		{"good", settings{}, "GET", "/", 200},
		{"bad", settings{failPercent: 100}, "GET", "/", 500},
		{"not there", settings{failPercent: 100}, "GET", "/basket", 404},
		{"not allowed", settings{}, "DELETE", "/", 405},
		{"alive while failing", settings{failPercent: 100}, "GET", "/health/live", 200},
		{"ready", settings{}, "GET", "/health/ready", 200},
		{"never ready", settings{notReady: true}, "GET", "/health/ready", 503},
		{"alive but not ready", settings{notReady: true}, "GET", "/health/live", 200},
	} {
		if got := get(t, newShop(c.settings).pages(), c.method, c.path).Code; got != c.code {
			t.Errorf("%s: %s %s answered %d, expected %d", c.why, c.method, c.path, got, c.code)
		}
	}
}

func TestAnswerNamesVersionAndPod(t *testing.T) {
	app := newShop(settings{version: "1.4.2", podName: "shop-1", message: "hello", failPercent: 100})
	recorder := get(t, app.pages(), "GET", "/")
	if got := recorder.Header().Get("x-version"); got != "1.4.2" {
		t.Errorf("x-version %q", got)
	}
	var body answer
	if err := json.Unmarshal(recorder.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if body != (answer{Version: "1.4.2", Pod: "shop-1", Message: "hello", Error: "this version fails"}) {
		t.Errorf("body %+v", body)
	}
}

func TestMetricsCountUsersAndNotProbes(t *testing.T) {
	app := newShop(settings{})
	pages := app.pages()
	for range 3 {
		get(t, pages, "GET", "/")
	}
	get(t, pages, "GET", "/nowhere")
	get(t, pages, "BREW", "/") // a method of the client's own making must not become a label
	for range 10 {
		get(t, pages, "GET", "/health/ready")
	}
	var text bytes.Buffer
	app.metrics.write(&text)
	for _, line := range []string{
		`http_requests_total{method="GET",route="/",code="200"} 3`,
		`http_requests_total{method="other",route="/",code="405"} 1`,
		`http_requests_total{method="GET",route="other",code="404"} 1`,
		`http_request_duration_seconds_bucket{le="+Inf"} 5`,
		`http_request_duration_seconds_count 5`,
		`http_requests_in_flight 0`,
	} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("missing %s in\n%s", line, text.String())
		}
	}
}

func TestHistogramBucketsAreCumulativeAndClosedAbove(t *testing.T) {
	m := newMetrics(time.Now())
	for _, took := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 6 * time.Millisecond, time.Minute} {
		m.begin()
		m.end(series{"GET", "/", 200}, took)
	}
	var text bytes.Buffer
	m.write(&text)
	for _, line := range []string{
		`http_request_duration_seconds_bucket{le="0.005"} 2`, // 5 ms is "less or equal"
		`http_request_duration_seconds_bucket{le="0.01"} 3`,
		`http_request_duration_seconds_bucket{le="10"} 3`,
		`http_request_duration_seconds_bucket{le="+Inf"} 4`,
		`http_request_duration_seconds_sum 60.012`,
	} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("missing %s in\n%s", line, text.String())
		}
	}
}
