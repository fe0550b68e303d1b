import 'reflect-metadata';

import type { Server } from 'node:http';

import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Logger } from 'nestjs-pino';

import { AppModule } from './app.module';
import { Metrics } from './metrics';
import type { Settings } from './settings';

/**
 * Longer than a proxy keeps an idle connection (Envoy: an hour), so that it is always the proxy that closes it. Node closes it after 5 s, and a
 * request that the proxy sends in that very moment is lost, rollout or not.
 */
const KEEP_ALIVE_MILLISECONDS = 65 * 60_000;

/** The running app. */
export interface Running {
  readonly app: NestExpressApplication;
  /** Absent where metrics are served by the app's own port. */
  readonly metrics: Server | undefined;
  /** Finishes running requests, then closes both servers: metrics last, so that the last requests can still be read. */
  stop(): Promise<void>;
}

/** Starts both servers. */
export async function start(settings: Settings): Promise<Running> {
  const metrics = new Metrics();
  const app = await NestFactory.create<NestExpressApplication>(AppModule.with(settings), { bufferLogs: true, abortOnError: false });
  app.useLogger(app.get(Logger));
  app.disable('x-powered-by');
  const together = settings.port !== 0 && settings.port === settings.metricsPort;
  if (together) app.use('/metrics', metrics.answer);
  app.use(metrics.observe);
  const server = together ? undefined : await metrics.listen(settings.metricsPort);
  await app.listen(settings.port);
  const http = app.getHttpServer() as Server;
  http.keepAliveTimeout = KEEP_ALIVE_MILLISECONDS;
  const stop = async (): Promise<void> => {
    // close() ends the connections that are idle now; those that are answered after it would stay for as long as said above.
    http.keepAliveTimeout = 1;
    await app.close();
    await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
  };
  return { app, metrics: server, stop };
}
