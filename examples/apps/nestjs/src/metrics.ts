import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

import type { NextFunction, Request, Response } from 'express';
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';

/** Prometheus metrics: the duration of each request, and Node's own (event loop lag, heap, garbage collection). */
export class Metrics {
  readonly registry = new Registry();
  private readonly duration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'How long requests took.',
    labelNames: ['method', 'route', 'status_code'] as const,
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /** Express middleware: observes each answered request. The route is the pattern, not the path: few series, whatever clients ask for. */
  readonly observe = (request: Request, response: Response, next: NextFunction): void => {
    const stop = this.duration.startTimer();
    response.on('finish', () => {
      const route = request.route as { path: string } | undefined;
      // Probes are Kubernetes' traffic, not the users'.
      if (route?.path.startsWith('/health/')) return;
      stop({ method: request.method, route: route?.path ?? 'unmatched', status_code: response.statusCode });
    });
    next();
  };

  /** Answers with all metrics. */
  readonly answer = (_request: IncomingMessage, response: ServerResponse): void => {
    this.registry.metrics().then(
      (page) => response.writeHead(200, { 'content-type': this.registry.contentType }).end(page),
      (error: unknown) => response.writeHead(500).end(`${String(error)}\n`),
    );
  };

  /** A server of its own for `/metrics`; it outlives the app's, so that the last requests are still read. */
  async listen(port: number): Promise<Server> {
    const server = createServer((request, response) => {
      if (request.url === '/metrics') this.answer(request, response);
      else response.writeHead(404).end('metrics are at /metrics\n');
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, resolve);
    });
    return server;
  }
}
