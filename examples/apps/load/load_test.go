package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the load generator itself: signals and exit codes can only be seen from outside.
func TestMain(m *testing.M) {
	if os.Getenv("LOAD_TEST_RUN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func program(args ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], args...)
	command.Env = []string{"LOAD_TEST_RUN=1"}
	return command
}

func TestAllowedAddresses(t *testing.T) {
	for address, expected := range map[string]bool{
		"127.0.0.1": true, "127.8.9.1": true, "::1": true, "::ffff:127.0.0.1": true,
		"10.96.0.1": true, "172.16.0.1": true, "192.168.1.1": true, "fd00::1": true, "100.64.0.1": true, "100.127.255.255": true,
		"8.8.8.8": false, "172.32.0.1": false, "192.0.2.1": false, "100.128.0.1": false, "2001:db8::1": false, "::ffff:8.8.8.8": false,
		"169.254.169.254": false, "fe80::1": false, "0.0.0.0": false, "::": false, "224.0.0.1": false,
	} {
		if got := allowed(netip.MustParseAddr(address)); got != expected {
			t.Errorf("%s: allowed is %v", address, got)
		}
	}
}

func TestTargetsAreCheckedBeforeAndWhileConnecting(t *testing.T) {
	ctx := context.Background()
	for target, message := range map[string]string{
		"http://8.8.8.8/":         "neither loopback nor private",
		"http://169.254.169.254/": "neither loopback nor private",
		"https://10.0.0.1/":       "expected http://",
		"10.0.0.1:80":             "first path segment",
		"http:///path":            "expected http://",
	} {
		if err := checkTarget(ctx, target, false); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: expected %q, got %v", target, message, err)
		}
	}
	if err := checkTarget(ctx, "http://8.8.8.8/", true); err != nil {
		t.Errorf("allowed by flag, refused: %v", err)
	}
	// As when a name is resolved anew: the generator is made without the first check. Nothing is sent to this address
	// (TEST-NET-1): the dialer refuses it.
	counts := newCounts("http://192.0.2.1/", time.Now())
	o := options{target: "http://192.0.2.1/", timeout: time.Second, maxInFlight: 1}
	if got := newGenerator(o, counts).request(ctx); got.err == nil || !strings.Contains(got.err.Error(), "neither loopback nor private") {
		t.Errorf("got %v", got.err)
	}
}

func TestOptionsRefused(t *testing.T) {
	for arguments, message := range map[string]string{
		"":                                    "--target is missing",
		"--target http://a --rate 0":          "--rate is 0",
		"--target http://a --rate NaN":        "--rate is NaN",
		"--target http://a --rate 5000":       "--rate is 5000",
		"--target http://a --duration 48h":    "--duration is 48h",
		"--target http://a --timeout 2m":      "--timeout is 2m",
		"--target http://a --max-in-flight 0": "--max-in-flight is 0",
		"--target http://a now":               `unexpected argument "now"`,
	} {
		_, err := readOptions(strings.Fields(arguments), io.Discard)
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: expected %q, got %v", arguments, message, err)
		}
	}
}

func TestPercentilesAreRightToTwoPercent(t *testing.T) {
	var l latencies
	if l.percentile(0.99) != 0 {
		t.Error("nothing measured, something shown")
	}
	for i := 1; i <= 1000; i++ {
		l.add(time.Duration(i) * time.Millisecond)
	}
	for share, exact := range map[float64]float64{0.5: 500, 0.9: 900, 0.99: 990, 1: 1000} {
		got := float64(l.percentile(share)) / float64(time.Millisecond)
		if math.Abs(got-exact) > 0.02*exact {
			t.Errorf("percentile %v: %v ms, exact %v ms", share, got, exact)
		}
	}
	l.add(time.Hour) // longer than the last bucket: counted, not lost
	if l.total != 1001 || l.max != time.Hour {
		t.Errorf("total %d, max %v", l.total, l.max)
	}
}

func TestCountsByVersionStayBounded(t *testing.T) {
	start := time.Now()
	c := newCounts("http://10.0.0.1/", start)
	const named = 3 * most
	for i := range named {
		c.add(outcome{version: fmt.Sprintf("v%d", i), took: time.Millisecond}, start)
	}
	c.add(outcome{version: "\"}\n" + strings.Repeat("x", 500)}, start)
	c.add(outcome{err: errors.New("refused")}, start)
	s := c.summary(start, false)
	if len(s.Versions) != most+1 || s.Versions["other"].OK != named-most+1 {
		t.Errorf("%d versions, other %+v", len(s.Versions), s.Versions["other"])
	}
	if s.OK != named+1 || s.Failed != 1 || s.Unanswered != 1 {
		t.Errorf("got %+v", s)
	}
	if got := label("\"}\n" + strings.Repeat("x", 500)); got != "___"+strings.Repeat("x", 61) {
		t.Errorf("label %q", got)
	}
	if label("") != "none" || label("1.4.2-rc.1+b_7") != "1.4.2-rc.1+b_7" {
		t.Error("a plain version must stay as it is")
	}
}

// twoVersions answers in turn as version 1, always well, and as version 2, whose every fifth answer is a failure.
func twoVersions(t *testing.T) (address string, connections *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	connections = &atomic.Int64{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := requests.Add(1)
		w.Header().Set("X-Version", fmt.Sprint(1+n%2))
		if n%10 == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, connections
}

func TestRunCountsPerVersionAndEndsByItself(t *testing.T) {
	for _, keepAlive := range []bool{false, true} {
		address, connections := twoVersions(t)
		o := options{
			target: address, rate: 100, duration: time.Minute, maxRequests: 100, maxInFlight: 50,
			timeout: 5 * time.Second, keepAlive: keepAlive,
		}
		var output bytes.Buffer
		final, err := run(context.Background(), o, &output)
		if err != nil {
			t.Fatal(err)
		}
		one, two := final.Versions["1"], final.Versions["2"]
		if final.Sent != 100 || final.OK != 90 || final.Failed != 10 || one.OK != 50 || one.Failed != 0 || two.OK != 40 || two.Failed != 10 {
			t.Errorf("got %+v", final)
		}
		if got := connections.Load(); !keepAlive && got != 100 || keepAlive && got > 50 {
			t.Errorf("keep-alive %v: %d connections for 100 requests", keepAlive, got)
		}
		line, body, _ := strings.Cut(output.String(), "\n")
		if !strings.Contains(line, "sent 100, ok 90, failed 10 | version 1: ok 50, failed 0 | version 2: ok 40, failed 10 | p50") {
			t.Errorf("line %q", line)
		}
		var printed summary
		if err := json.Unmarshal([]byte(body), &printed); err != nil || !printed.Done || printed.Versions["2"].Failed != 10 {
			t.Errorf("error %v, summary %s", err, body)
		}
	}
}

func TestRunIsBoundedInTimeAndLetsTheLastAnswerArrive(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(400 * time.Millisecond)
		w.Header().Set("X-Version", "1")
	}))
	defer server.Close()
	o := options{target: server.URL, rate: 100, duration: 200 * time.Millisecond, maxRequests: 1000, maxInFlight: 3, timeout: 5 * time.Second}
	final, err := run(context.Background(), o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if final.Sent != 3 || final.OK != 3 || final.Skipped == 0 {
		t.Errorf("three may run at once and each outlives the run; got %+v", final)
	}
}

func TestUnansweredRequestsBelongToNoVersion(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL
	server.Close()
	o := options{target: address, rate: 500, duration: time.Minute, maxRequests: 5, maxInFlight: 5, timeout: time.Second}
	final, err := run(context.Background(), o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if final.Unanswered != 5 || final.Failed != 5 || len(final.Versions) != 0 || !strings.Contains(final.LastError, "refused") {
		t.Errorf("got %+v", final)
	}
}

func TestAnAnswerThatIsCutOffIsAFailureOfItsVersion(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Version", "2")
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
	}))
	defer server.Close()
	o := options{target: server.URL, rate: 500, duration: time.Minute, maxRequests: 1, maxInFlight: 1, timeout: time.Second}
	final, err := run(context.Background(), o, io.Discard)
	if err != nil || final.Versions["2"].Failed != 1 || final.OK != 0 {
		t.Errorf("error %v, got %+v", err, final)
	}
}

func TestEndpointsTellWhatHappenedSoFar(t *testing.T) {
	c := newCounts("http://10.0.0.1/", time.Now())
	c.send()
	c.add(outcome{version: "2", err: errors.New("status 500"), took: time.Millisecond}, time.Now())
	handler := endpoints(c)
	body := func(path string) string {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
		return recorder.Body.String()
	}
	var s summary
	if err := json.Unmarshal([]byte(body("/summary")), &s); err != nil || s.Done || s.Sent != 1 || s.Versions["2"].Failed != 1 {
		t.Errorf("error %v, summary %+v", err, s)
	}
	if text := body("/metrics"); !strings.Contains(text, "load_requests_total{version=\"2\",outcome=\"failed\"} 1\n") {
		t.Errorf("metrics %s", text)
	}
}

func TestProgramRefusesTheWorld(t *testing.T) {
	output, err := program("--target", "http://192.0.2.1/", "--max-requests", "1").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(output), "--allow-any-target") {
		t.Errorf("error %v, output %s", err, output)
	}
}

func TestProgramEndsWellWhenTerminated(t *testing.T) {
	address, _ := twoVersions(t)
	command := program("--target", address, "--rate", "100", "--report-every", "50ms")
	lines, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(lines)
	if !scanner.Scan() || !strings.Contains(scanner.Text(), "sent ") {
		t.Fatalf("no line while it runs: %q", scanner.Text())
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	last := ""
	for scanner.Scan() {
		last = scanner.Text()
	}
	var final summary
	if err := json.Unmarshal([]byte(last), &final); err != nil || !final.Done || final.Sent == 0 || final.Sent != final.OK+final.Failed {
		t.Errorf("error %v, last line %s", err, last)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("expected exit code 0, got %v", err)
	}
}

func TestCallsAreCountedByTheirGrpcStatus(t *testing.T) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.ProtoMajor != 2 || r.Method != http.MethodPost || r.URL.Path != "/grpc.health.v1.Health/Check" || r.Host != "shop.example" || len(body) != 5 {
			http.Error(w, "not a call", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("X-Version", "7")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte{0, 0, 0, 0, 2, 8, 1})
		w.Header().Set("Grpc-Status", r.Header.Get("X-Status"))
	}))
	server.Config.Protocols = &protocols
	server.Start()
	defer server.Close()
	o := options{target: server.URL, host: "shop.example", grpc: true, timeout: 5 * time.Second, maxInFlight: 1}
	generator := newGenerator(o, newCounts(o.target, time.Now()))
	for status, message := range map[string]string{"0": "", "13": "grpc status 13", "": "without grpc status"} {
		request, err := generator.newRequest(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Status", status)
		response, err := generator.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err := grpcError(response); (err == nil) != (message == "") || err != nil && !strings.Contains(err.Error(), message) {
			t.Errorf("status %q: %v", status, err)
		}
	}
	if got := generator.request(context.Background()); got.version != "7" {
		t.Errorf("got %+v", got)
	}
}
