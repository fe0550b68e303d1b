import { Inject, Injectable, InternalServerErrorException, OnModuleDestroy, OnModuleInit } from '@nestjs/common';

import { SETTINGS, type Settings } from './settings';

const LEAK_INTERVAL_MS = 100;

/** The three ways in which a version of this app can be bad. */
@Injectable()
export class Faults implements OnModuleInit, OnModuleDestroy {
  private requests = 0;
  private readonly kept: Buffer[] = [];
  private timer?: NodeJS.Timeout;

  constructor(@Inject(SETTINGS) private readonly settings: Settings) {}

  onModuleInit(): void {
    const bytes = Math.round((this.settings.leakMebibytesPerSecond * 2 ** 20 * LEAK_INTERVAL_MS) / 1000);
    if (bytes === 0) return;
    // Filled, because memory that is only reserved is not counted against the limit.
    this.timer = setInterval(() => this.kept.push(Buffer.alloc(bytes, 1)), LEAK_INTERVAL_MS);
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
  }

  /** Called by each request: blocks the event loop, fails, or does nothing. Evenly spread, so that a test can count. */
  strike(): void {
    this.requests += 1;
    if (this.falls(this.settings.blockPercent)) block(this.settings.blockMilliseconds);
    if (this.falls(this.settings.failPercent)) throw new InternalServerErrorException('the cart cannot be priced');
  }

  private falls(percent: number): boolean {
    return Math.floor((this.requests * percent) / 100) > Math.floor(((this.requests - 1) * percent) / 100);
  }
}

/** What a synchronous computation in a handler does: meanwhile nobody else is answered. */
function block(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}
