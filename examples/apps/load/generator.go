package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// generator sends requests at a constant rate, whether or not the target keeps up: a generator that waits for slow
// answers sends less just when it matters and hides what users would have felt.
type generator struct {
	options options
	client  *http.Client
	counts  *counts
}

func newGenerator(o options, c *counts) *generator {
	dialer := &net.Dialer{Timeout: o.timeout}
	if !o.anyTarget {
		dialer.Control = checkConnection
	}
	var protocols http.Protocols
	protocols.SetHTTP1(!o.grpc)
	protocols.SetUnencryptedHTTP2(o.grpc)
	return &generator{
		options: o,
		counts:  c,
		client: &http.Client{
			Timeout: o.timeout,
			// A redirect is an answer and no other target.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy:       nil, // what is measured is the target
				DialContext: dialer.DialContext,
				Protocols:   &protocols,
				// kube-proxy balances connections: only a new one each time spreads requests over pods.
				DisableKeepAlives:   !o.keepAlive && !o.grpc,
				MaxIdleConnsPerHost: o.maxInFlight,
			},
		},
	}
}

// run sends until the time or the number of requests is used up or ctx ends, and waits for the last answers.
func (g *generator) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.options.duration)
	defer cancel()
	slots := make(chan struct{}, g.options.maxInFlight)
	var running sync.WaitGroup
	defer running.Wait()

	interval := time.Duration(float64(time.Second) / g.options.rate)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for sent, due := uint64(0), time.Now(); sent < g.options.maxRequests; due = due.Add(interval) {
		// Due times are absolute, so that small delays do not add up; after a long one (a suspended pod) what was
		// missed stays missed instead of arriving as one burst.
		if now := time.Now(); now.Sub(due) > time.Second {
			due = now
		}
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case slots <- struct{}{}:
		default:
			g.counts.skip()
			continue
		}
		sent++
		g.counts.send()
		running.Add(1)
		go func() {
			defer running.Done()
			defer func() { <-slots }()
			// The run's end does not cut off a request: its answer counts.
			outcome := g.request(context.WithoutCancel(ctx))
			g.counts.add(outcome, time.Now())
		}()
	}
}

func (g *generator) newRequest(ctx context.Context) (*http.Request, error) {
	method, target, body := http.MethodGet, g.options.target, io.Reader(nil)
	if g.options.grpc {
		// A call is a POST; its body is a length and a message, and that of HealthCheckRequest may be empty.
		method, target, body = http.MethodPost, strings.TrimRight(target, "/")+"/grpc.health.v1.Health/Check", bytes.NewReader(make([]byte, 5))
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	request.Host = g.options.host
	request.Header.Set("User-Agent", "plimsoll-load")
	if g.options.grpc {
		request.Header.Set("Content-Type", "application/grpc")
		request.Header.Set("TE", "trailers")
	}
	return request, nil
}

// grpcError is what came of a call: the status is in the trailers, or in the header of an answer without any message.
func grpcError(response *http.Response) error {
	for _, fields := range []http.Header{response.Trailer, response.Header} {
		if status := fields.Get("Grpc-Status"); status == "0" {
			return nil
		} else if status != "" {
			return fmt.Errorf("grpc status %s: %s", status, fields.Get("Grpc-Message"))
		}
	}
	return errors.New("an answer without grpc status")
}

func (g *generator) request(ctx context.Context) outcome {
	began := time.Now()
	request, err := g.newRequest(ctx)
	if err != nil {
		return outcome{err: err}
	}
	response, err := g.client.Do(request)
	if err != nil {
		return outcome{err: err, took: time.Since(began)}
	}
	defer response.Body.Close()
	version := response.Header.Get("X-Version")
	var start bytes.Buffer
	_, err = io.Copy(&start, io.LimitReader(response.Body, 200))
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	}
	if err == nil && (response.StatusCode < 200 || response.StatusCode > 299) {
		err = fmt.Errorf("status %d", response.StatusCode)
		if version == "" {
			// A proxy says why.
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(start.String()))
		}
	}
	if err == nil && g.options.grpc {
		err = grpcError(response)
	}
	return outcome{version: version, err: err, took: time.Since(began)}
}
