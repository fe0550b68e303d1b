import { Controller, Get, Header, Inject, Res } from '@nestjs/common';
import type { Response } from 'express';

import { Faults } from './faults.service';
import { SETTINGS, type Settings } from './settings';

/** What the app does for its users. */
@Controller()
export class CheckoutController {
  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    private readonly faults: Faults,
  ) {}

  @Get()
  @Header('cache-control', 'no-store')
  checkout(@Res({ passthrough: true }) response: Response): { version: string; pod: string } {
    // Before the fault: a failed answer says which version failed.
    response.setHeader('x-version', this.settings.version);
    this.faults.strike();
    return { version: this.settings.version, pod: this.settings.pod };
  }
}
