// Shop is the demo's app: a small HTTP server with Prometheus metrics that can be told to misbehave in every way a new
// version does: failing, slow, leaking, crashing, never ready, or wrongly configured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// drainTimeout is how long running requests are waited for after SIGTERM. It has to be shorter than the pod's
// terminationGracePeriodSeconds less its preStop sleep.
const drainTimeout = 25 * time.Second

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	s, err := readSettings(os.Args[1:], os.LookupEnv, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		log.Fatalf("shop: %v", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, s); err != nil {
		log.Fatalf("shop: %v", err)
	}
}

// run serves until ctx ends, then lets running requests finish.
func run(ctx context.Context, s settings) error {
	app := newShop(s)
	pages := app.pages()
	var metricsServer *http.Server
	failed := make(chan error, 2)
	if s.metricsListen == "" {
		pages.HandleFunc("/metrics", app.writeMetrics)
	} else {
		mux := http.NewServeMux()
		mux.HandleFunc("/metrics", app.writeMetrics)
		metricsServer = newServer(mux)
		if err := serve(metricsServer, "metrics", s.metricsListen, failed); err != nil {
			return err
		}
	}
	server := newServer(pages)
	if err := serve(server, "version "+s.version, s.listen, failed); err != nil {
		return err
	}
	if s.crashAfterSeconds >= 0 {
		time.AfterFunc(seconds(s.crashAfterSeconds), func() { log.Fatal("shop: CRASH_AFTER_SECONDS has passed") })
	}
	if s.leakMiBPerSecond > 0 {
		go leak(ctx, s.leakMiBPerSecond)
	}

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Print("shop: draining")
	app.draining.Store(true)
	server.SetKeepAlivesEnabled(false) // from now on every answer says Connection: close
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	err := server.Shutdown(drain)
	if metricsServer != nil {
		// Last, so that the counts of the final requests can still be read.
		err = errors.Join(err, metricsServer.Shutdown(drain))
	}
	return err
}

func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		// Longer than a proxy keeps an idle connection (Envoy: an hour). With 60 s, 1 of about a million requests was lost: the
		// proxy sent it in the very moment in which this side closed.
		IdleTimeout:    65 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
}

// serve listens before it returns, so that an address in use is an error at the start.
func serve(server *http.Server, what, address string, failed chan<- error) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	log.Printf("shop: %s on %s", what, listener.Addr())
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("%s: %w", what, err)
		}
	}()
	return nil
}

// leak takes memory and writes to every page of it: memory that is only reserved is not counted against a limit.
func leak(ctx context.Context, mebibytesPerSecond float64) {
	const pageSize = 4096
	var kept [][]byte
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			block := make([]byte, int(mebibytesPerSecond*(1<<20)/10))
			for i := 0; i < len(block); i += pageSize {
				block[i] = 1
			}
			kept = append(kept, block)
		}
	}
}

func seconds(number float64) time.Duration {
	return time.Duration(number * float64(time.Second))
}
