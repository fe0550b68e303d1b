/**
 * OpenTelemetry. Loaded before anything else (`node --require ./dist/tracing.js`), because it has to be there when `http` is first required.
 * Without OTEL_EXPORTER_OTLP_ENDPOINT nothing is recorded and nothing is sent.
 */
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { registerInstrumentations } from '@opentelemetry/instrumentation';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { NestInstrumentation } from '@opentelemetry/instrumentation-nestjs-core';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

if (process.env['OTEL_EXPORTER_OTLP_ENDPOINT']) {
  const provider = new NodeTracerProvider({
    resource: defaultResource().merge(
      resourceFromAttributes({
        'service.name': process.env['OTEL_SERVICE_NAME'] ?? 'checkout',
        'service.version': process.env['VERSION'] ?? '0',
      }),
    ),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  provider.register();
  const isProbe = (url: string | undefined): boolean => url?.startsWith('/health/') || url === '/metrics';
  registerInstrumentations({
    instrumentations: [new HttpInstrumentation({ ignoreIncomingRequestHook: (request) => isProbe(request.url) }), new NestInstrumentation()],
  });
  // The last spans tell why a pod went: they are sent before it ends.
  process.once('beforeExit', () => void provider.shutdown());
}
