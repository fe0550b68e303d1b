// Load sends a constant, bounded load to one target inside a cluster and counts, per version of the app, what was
// answered: the users of the demo.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options of one run, all bounded.
type options struct {
	target      string
	rate        float64
	duration    time.Duration
	maxRequests uint64
	maxInFlight int
	timeout     time.Duration
	keepAlive   bool
	host        string
	grpc        bool
	anyTarget   bool
	reportEvery time.Duration
	listen      string
}

func main() {
	o, err := readOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err == nil {
		err = checkTarget(ctx, o.target, o.anyTarget)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(2)
	}
	final, err := run(ctx, o, os.Stdout)
	if err == nil && final.OK == 0 {
		err = fmt.Errorf("not one request was answered well; last error: %s", final.LastError)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func readOptions(args []string, output io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.StringVar(&o.target, "target", "", "http://HOST:PORT/PATH; loopback or private addresses only")
	flags.Float64Var(&o.rate, "rate", 20, "requests a second, above 0, at most 2000")
	flags.DurationVar(&o.duration, "duration", 5*time.Minute, "length of the run, at most 24h")
	flags.Uint64Var(&o.maxRequests, "max-requests", 1_000_000, "requests after which the run ends earlier")
	flags.IntVar(&o.maxInFlight, "max-in-flight", 200, "requests running at once; further ones are not sent, but counted")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Second, "for one request, at most 60s")
	flags.BoolVar(&o.keepAlive, "keep-alive", false, "reuse connections instead of one for each request")
	flags.StringVar(&o.host, "host", "", "host name that the requests carry; empty: the target's")
	flags.BoolVar(&o.grpc, "grpc", false, "call grpc.health.v1.Health/Check over HTTP/2 in plain text, connections reused")
	flags.BoolVar(&o.anyTarget, "allow-any-target", false, "also load addresses that are not private")
	flags.DurationVar(&o.reportEvery, "report-every", 10*time.Second, "print a line this often; 0: never")
	flags.StringVar(&o.listen, "listen", "", "address that serves /summary and /metrics; empty: none")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.target == "":
		return o, errors.New("--target is missing")
	case !(o.rate > 0 && o.rate <= 2000):
		return o, fmt.Errorf("--rate is %v; it must lie above 0 and be at most 2000", o.rate)
	case o.duration <= 0 || o.duration > 24*time.Hour:
		return o, fmt.Errorf("--duration is %v; it must lie above 0 and be at most 24h", o.duration)
	case o.timeout <= 0 || o.timeout > time.Minute:
		return o, fmt.Errorf("--timeout is %v; it must lie above 0 and be at most 60s", o.timeout)
	case o.maxInFlight < 1 || o.maxInFlight > 10_000:
		return o, fmt.Errorf("--max-in-flight is %d; it must lie between 1 and 10000", o.maxInFlight)
	case o.reportEvery < 0:
		return o, fmt.Errorf("--report-every is %v; it must not be negative", o.reportEvery)
	}
	return o, nil
}

// run sends the load, prints lines as it goes and the JSON summary at the end.
func run(ctx context.Context, o options, output io.Writer) (summary, error) {
	counts := newCounts(o.target, time.Now())
	if o.listen != "" {
		listener, err := net.Listen("tcp", o.listen)
		if err != nil {
			return summary{}, err
		}
		server := &http.Server{Handler: endpoints(counts), ReadHeaderTimeout: 5 * time.Second}
		defer server.Close()
		go func() { _ = server.Serve(listener) }()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		newGenerator(o, counts).run(ctx)
	}()
	report(o.reportEvery, counts, ended, output)

	final := counts.summary(time.Now(), true)
	fmt.Fprintln(output, final.line())
	return final, json.NewEncoder(output).Encode(final)
}

// report prints a line each time that much time has passed, until ended is closed.
func report(every time.Duration, counts *counts, ended <-chan struct{}, output io.Writer) {
	if every == 0 {
		<-ended
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case now := <-ticker.C:
			fmt.Fprintln(output, counts.summary(now, false).line())
		}
	}
}

func endpoints(counts *counts) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/summary", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(counts.summary(time.Now(), false))
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		counts.summary(time.Now(), false).writeMetrics(w)
	})
	mux.HandleFunc("/health/ready", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ready") })
	return mux
}
