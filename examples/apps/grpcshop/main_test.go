package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func freeAddress(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// serve runs a shop until the test ends and checks that it ends well.
func serve(t *testing.T, failPercent float64) (grpc_health_v1.HealthClient, string) {
	s := settings{listen: freeAddress(t), metricsListen: freeAddress(t), version: "7", failPercent: failPercent}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, s) }()
	connection, err := grpc.NewClient(s.listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		connection.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	return grpc_health_v1.NewHealthClient(connection), "http://" + s.metricsListen + "/metrics"
}

func TestAnswersNameTheVersionAndAreCounted(t *testing.T) {
	for percent, code := range map[float64]codes.Code{0: codes.OK, 100: codes.Internal} {
		client, metrics := serve(t, percent)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var header metadata.MD
		_, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true), grpc.Header(&header))
		if status.Code(err) != code {
			t.Errorf("%v percent: %v", percent, err)
		}
		if got := header.Get("x-version"); len(got) != 1 || got[0] != "7" {
			t.Errorf("%v percent: version %v", percent, got)
		}
		answer, err := http.Get(metrics)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || !strings.Contains(string(text), `grpc_code="`+code.String()+`"} 1`) {
			t.Errorf("%v percent: %s", percent, text)
		}
	}
}

func TestSettings(t *testing.T) {
	environment := map[string]string{"VERSION": "3", "FAIL_PERCENT": "12.5"}
	s, err := readSettings([]string{"--listen", ":1"}, func(name string) string { return environment[name] }, io.Discard)
	if err != nil || s.version != "3" || s.failPercent != 12.5 || s.listen != ":1" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, wrong := range []string{"x", "-1", "101", "NaN"} {
		if _, err := readSettings([]string{"--fail-percent", wrong}, func(string) string { return "" }, &bytes.Buffer{}); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}
