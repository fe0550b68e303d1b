// Caller is a client in a mesh: where its calls go it learns from the mesh's control plane by xDS, as proxyless gRPC services do. It calls
// grpc.health.v1.Health/Check until it has made its calls or is told to stop, and prints as JSON which version answered how many.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	// The resolver of xds: targets.
	_ "google.golang.org/grpc/xds"
)

// counts is what came of the calls so far.
type counts struct {
	mutex    sync.Mutex
	Sent     int            `json:"sent"`
	Failed   map[string]int `json:"failed"`
	Versions map[string]int `json:"versions"`
}

func main() {
	target := flag.String("target", "", "xds:///HOST:PORT")
	rate := flag.Float64("rate", 100, "calls per second")
	calls := flag.Int("calls", 0, "end after so many; 0: when told to (SIGTERM)")
	timeout := flag.Duration("timeout", 10*time.Second, "of one call")
	flag.Parse()
	if *target == "" || *rate <= 0 {
		log.Fatal("caller: --target xds:///HOST:PORT and a --rate above 0 are needed")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	connection, err := grpc.NewClient(*target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatalf("caller: %v", err)
	}
	c := counts{Failed: map[string]int{}, Versions: map[string]int{}}
	var running sync.WaitGroup
	ticker := time.NewTicker(time.Duration(float64(time.Second) / *rate))
	for ctx.Err() == nil && (*calls == 0 || c.Sent < *calls) {
		select {
		case <-ctx.Done():
		case <-ticker.C:
			c.Sent++
			running.Go(func() { c.call(grpc_health_v1.NewHealthClient(connection), *timeout) })
		}
	}
	running.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(&c); err != nil {
		log.Fatalf("caller: %v", err)
	}
}

// call makes one call and counts what comes of it.
func (c *counts) call(client grpc_health_v1.HealthClient, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var header metadata.MD
	_, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Header(&header))
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err != nil {
		c.Failed[fmt.Sprint(err)]++
		return
	}
	version := "unknown"
	if names := header.Get("x-version"); len(names) > 0 {
		version = names[0]
	}
	c.Versions[version]++
}
