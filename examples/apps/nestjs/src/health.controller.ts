import { BeforeApplicationShutdown, Controller, Get } from '@nestjs/common';
import { HealthCheck, HealthCheckService, HealthIndicatorService, type HealthCheckResult } from '@nestjs/terminus';

/** Probes. Ready says whether to send traffic; live only that the event loop turns: a database that is down is no reason to restart. */
@Controller('health')
export class HealthController implements BeforeApplicationShutdown {
  private draining = false;

  constructor(
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
  ) {}

  beforeApplicationShutdown(): void {
    this.draining = true;
  }

  @Get('ready')
  @HealthCheck()
  ready(): Promise<HealthCheckResult> {
    // What the app needs (a database, a queue) is added to this list.
    return this.health.check([
      () => {
        const traffic = this.indicators.check('traffic');
        return this.draining ? traffic.down('draining') : traffic.up();
      },
    ]);
  }

  @Get('live')
  @HealthCheck()
  live(): Promise<HealthCheckResult> {
    return this.health.check([]);
  }
}
