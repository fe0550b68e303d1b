import { type DynamicModule, Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { trace } from '@opentelemetry/api';
import { LoggerModule } from 'nestjs-pino';

import { CheckoutController } from './checkout.controller';
import { Faults } from './faults.service';
import { HealthController } from './health.controller';
import { SETTINGS, type Settings } from './settings';

@Module({})
export class AppModule {
  static with(settings: Settings): DynamicModule {
    return {
      module: AppModule,
      imports: [
        TerminusModule.forRoot({ logger: false }),
        LoggerModule.forRoot({
          pinoHttp: {
            level: process.env['LOG_LEVEL'] ?? 'info',
            base: { version: settings.version, pod: settings.pod },
            // A line for each failed request, none for those that went well: metrics count those.
            customLogLevel: (_request, response, error) => (error || response.statusCode >= 500 ? 'error' : 'silent'),
            // Leads from a line of the log to its trace.
            mixin: () => {
              const span = trace.getActiveSpan()?.spanContext();
              return span ? { trace_id: span.traceId, span_id: span.spanId } : {};
            },
          },
        }),
      ],
      controllers: [CheckoutController, HealthController],
      providers: [{ provide: SETTINGS, useValue: settings }, Faults],
    };
  }
}
