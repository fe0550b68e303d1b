package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the shop itself: signals and exit codes can only be seen from outside.
func TestMain(m *testing.M) {
	if os.Getenv("SHOP_TEST_RUN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start runs the shop as a program of its own and waits for its address.
func start(t *testing.T, environment ...string) (*exec.Cmd, string) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append([]string{"SHOP_TEST_RUN=1", "LISTEN=127.0.0.1:0"}, environment...)
	log, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	lines := bufio.NewScanner(log)
	if !lines.Scan() {
		t.Fatal("the shop said nothing")
	}
	_, address, found := strings.Cut(lines.Text(), " on ")
	if !found {
		t.Fatalf("no address in %q", lines.Text())
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
	return command, "http://" + address
}

func TestTerminationLetsARunningRequestFinish(t *testing.T) {
	command, address := start(t, "LATENCY_MS=1000")
	type outcome struct {
		response *http.Response
		err      error
	}
	answered := make(chan outcome, 1)
	go func() {
		response, err := http.Get(address)
		answered <- outcome{response, err}
	}()
	// At three standard deviations the fastest answer takes 223 ms, so at 100 ms the request is running.
	time.Sleep(100 * time.Millisecond)
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	got := <-answered
	if got.err != nil {
		t.Fatalf("the running request was cut off: %v", got.err)
	}
	defer got.response.Body.Close()
	if got.response.StatusCode != 200 || !got.response.Close {
		t.Errorf("status %d, Connection: close %v", got.response.StatusCode, got.response.Close)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("a drained shop ends with 0, got %v", err)
	}
	if _, err := http.Get(address); err == nil {
		t.Error("still answering after the end")
	}
}

func TestCrashAfterSeconds(t *testing.T) {
	command, _ := start(t, "CRASH_AFTER_SECONDS=0.2")
	err := command.Wait()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Errorf("expected exit code 1, got %v", err)
	}
}

func TestMetricsOnTheirOwnPort(t *testing.T) {
	command, metrics := start(t, "METRICS_LISTEN=127.0.0.1:0")
	response, err := http.Get(metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 || !strings.Contains(string(body), "http_request_duration_seconds_count 0") {
		t.Errorf("status %d, error %v, body %s", response.StatusCode, err, body)
	}
	if got, err := http.Get(metrics + "/"); err != nil || got.StatusCode != 404 {
		t.Errorf("the metrics port must serve metrics only: %v %v", got, err)
	}
	_ = command.Process.Signal(syscall.SIGTERM)
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
}

func TestABadConfigurationEndsWithItsReason(t *testing.T) {
	command := exec.Command(os.Args[0])
	command.Env = []string{"SHOP_TEST_RUN=1", "CONFIG_FILE=" + configFile(t, "FAIL_PERCENT=lots")}
	output, err := command.CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(string(output), `FAIL_PERCENT "lots"`) {
		t.Errorf("error %v, output %s", err, output)
	}
}
