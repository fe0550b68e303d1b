// Grpcshop is the shop for gRPC: the standard health service of grpc-go, which names its version in the header x-version of every answer and
// fails on request.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Running calls are waited for so long after SIGTERM. It has to be shorter than the pod's terminationGracePeriodSeconds less its preStop sleep.
const drainTimeout = 25 * time.Second

// settings are flags, or environment variables of the same name in capitals.
type settings struct {
	listen        string
	metricsListen string
	version       string
	failPercent   float64
}

// shop counts the calls that it answers.
type shop struct {
	settings   settings
	ok, failed atomic.Uint64
}

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	s, err := readSettings(os.Args[1:], os.Getenv, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		log.Fatalf("grpcshop: %v", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, s); err != nil {
		log.Fatalf("grpcshop: %v", err)
	}
}

func readSettings(args []string, getenv func(string) string, output io.Writer) (settings, error) {
	var s settings
	failPercent := getenv("FAIL_PERCENT")
	if failPercent == "" {
		failPercent = "0"
	}
	flags := flag.NewFlagSet("grpcshop", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.StringVar(&s.listen, "listen", ":8080", "address of the service")
	flags.StringVar(&s.metricsListen, "metrics-listen", ":9090", "address of /metrics")
	flags.StringVar(&s.version, "version", getenv("VERSION"), "answered in x-version")
	flags.StringVar(&failPercent, "fail-percent", failPercent, "percent of calls answered with INTERNAL, 0 to 100")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var err error
	s.failPercent, err = strconv.ParseFloat(failPercent, 64)
	if err != nil || !(s.failPercent >= 0 && s.failPercent <= 100) {
		return s, fmt.Errorf("FAIL_PERCENT is %q; it must be a number between 0 and 100", failPercent)
	}
	return s, nil
}

// run serves until ctx ends, then lets running calls finish.
func run(ctx context.Context, s settings) error {
	shop := &shop{settings: s}
	// Both before either answers: whoever has been served finds the metrics.
	metricsListener, err := net.Listen("tcp", s.metricsListen)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		metricsListener.Close()
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(shop.answer))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", shop.writeMetrics)
	metrics := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()
	go func() { failed <- metrics.Serve(metricsListener) }()
	log.Printf("grpcshop: version %s on %s", s.version, listener.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Print("grpcshop: draining")
	force := time.AfterFunc(drainTimeout, server.Stop)
	defer force.Stop()
	// Says GOAWAY on every connection and waits for the running calls.
	server.GracefulStop()
	return metrics.Close()
}

// probe is the kubelet's user agent; its own successes would thin out the failures of the users.
const probe = "kube-probe"

// answer names the version, fails as often as asked, and counts.
func (s *shop) answer(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if agent := metadata.ValueFromIncomingContext(ctx, "user-agent"); len(agent) > 0 && len(agent[0]) >= len(probe) && agent[0][:len(probe)] == probe {
		return handler(ctx, request)
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-version", s.settings.version)); err != nil {
		return nil, err
	}
	if rand.Float64()*100 < s.settings.failPercent {
		s.failed.Add(1)
		return nil, status.Error(codes.Internal, "this version fails")
	}
	s.ok.Add(1)
	return handler(ctx, request)
}

// writeMetrics gives the counter that go-grpc-middleware's Prometheus interceptor has.
func (s *shop) writeMetrics(w http.ResponseWriter, _ *http.Request) {
	const series = `grpc_server_handled_total{grpc_type="unary",grpc_service="grpc.health.v1.Health",grpc_method="Check",grpc_code="%s"} %d` + "\n"
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprint(w, "# HELP grpc_server_handled_total Calls answered.\n# TYPE grpc_server_handled_total counter\n")
	fmt.Fprintf(w, series, codes.OK, s.ok.Load())
	fmt.Fprintf(w, series, codes.Internal, s.failed.Load())
}
