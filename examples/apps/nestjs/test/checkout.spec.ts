import type { Server } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';

import request from 'supertest';

import { start, type Running } from '../src/bootstrap';
import { HealthController } from '../src/health.controller';
import { readSettings } from '../src/settings';

/** Ports 0: the system gives free ones. */
function running(environment: NodeJS.ProcessEnv = {}): Promise<Running> {
  return start(readSettings({ PORT: '0', METRICS_PORT: '0', VERSION: '7', LOG_LEVEL: 'silent', ...environment }));
}

const page = async (shop: Running): Promise<string> =>
  (await request(`http://127.0.0.1:${(shop.metrics?.address() as AddressInfo).port}`).get('/metrics').expect(200)).text;

const sample = (text: string, series: string): number =>
  Number(text.split('\n').find((line) => line.startsWith(series))?.split(' ').pop() ?? NaN);

describe('checkout', () => {
  let shop: Running;
  beforeAll(() => {
    process.env['LOG_LEVEL'] = 'silent';
  });
  afterEach(() => shop.stop());

  it('answers with its version, and counts the request by route and status', async () => {
    shop = await running();
    const answer = await request(shop.app.getHttpServer()).get('/').expect(200).expect('x-version', '7');
    expect(answer.body).toMatchObject({ version: '7' });
    await request(shop.app.getHttpServer()).get('/no/such/page?x=1').expect(404);
    const text = await page(shop);
    expect(sample(text, 'http_request_duration_seconds_count{method="GET",route="/",status_code="200"}')).toBe(1);
    // By the pattern of the route, never by the path: what clients ask for must not become series.
    expect(text).toMatch(/_count\{method="GET",route="[^"]*",status_code="404"\} 1/);
    expect(text).not.toContain('no/such');
    expect(text).toContain('nodejs_eventloop_lag_p99_seconds');
  });

  it('serves its metrics by its own port where both are the same', async () => {
    const server = createServer().listen(0);
    const port = String((server.address() as AddressInfo).port);
    await new Promise((resolve) => server.close(resolve));
    shop = await running({ PORT: port, METRICS_PORT: port });
    await request(`http://127.0.0.1:${port}`).get('/').expect(200);
    const answer = await request(`http://127.0.0.1:${port}`).get('/metrics').expect(200);
    expect(sample(answer.text, 'http_request_duration_seconds_count')).toBe(1);
  });

  it('fails exactly the share that it is told to, and says so in its metrics', async () => {
    shop = await running({ FAIL_PERCENT: '5' });
    const statuses: number[] = [];
    for (let count = 0; count < 100; count += 1) statuses.push((await request(shop.app.getHttpServer()).get('/')).status);
    expect(statuses.filter((status) => status === 500)).toHaveLength(5);
    const failed = await request(shop.app.getHttpServer()).get('/');
    expect(failed.headers['x-version']).toBe('7');
    expect(sample(await page(shop), 'http_request_duration_seconds_count{method="GET",route="/",status_code="500"}')).toBe(5);
  });

  it('blocks the event loop for as long as it is told to', async () => {
    shop = await running({ BLOCK_PERCENT: '50', BLOCK_MS: '1500' });
    for (let count = 0; count < 2; count += 1) await request(shop.app.getHttpServer()).get('/').expect(200);
    const text = await page(shop);
    const slowerThan1s =
      sample(text, 'http_request_duration_seconds_count') - sample(text, 'http_request_duration_seconds_bucket{le="1",method="GET",route="/"');
    expect(slowerThan1s).toBe(1);
  });

  it('leaks what it is told to', async () => {
    const before = process.memoryUsage().rss;
    shop = await running({ LEAK_MIB_PER_SECOND: '100' });
    // However slow the machine is: it only ever gets more.
    while (process.memoryUsage().rss - before < 20 * 2 ** 20) await new Promise((resolve) => setTimeout(resolve, 50));
  });

  it('is ready and live, does not count probes, and is not ready while it drains', async () => {
    shop = await running();
    await request(shop.app.getHttpServer()).get('/health/ready').expect(200);
    await request(shop.app.getHttpServer()).get('/health/live').expect(200);
    expect(await page(shop)).not.toContain('route="/health');
    shop.app.get(HealthController).beforeApplicationShutdown();
    await request(shop.app.getHttpServer()).get('/health/ready').expect(503);
    await request(shop.app.getHttpServer()).get('/health/live').expect(200);
  });

  it('finishes a running request before it stops', async () => {
    shop = await running({ BLOCK_PERCENT: '100', BLOCK_MS: '150' });
    const port = (shop.app.getHttpServer().address() as AddressInfo).port;
    const answer = request(`http://127.0.0.1:${port}`).get('/').expect(200);
    const answered = answer.then((response) => response.status);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await shop.stop();
    expect(await answered).toBe(200);
    shop = await running();
  });

  it('leaves it to the proxy to close an idle connection', async () => {
    shop = await running();
    expect((shop.app.getHttpServer() as Server).keepAliveTimeout).toBeGreaterThan(60 * 60_000);
  });
});
