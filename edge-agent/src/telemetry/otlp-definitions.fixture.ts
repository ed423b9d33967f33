import { createRequire } from 'node:module';

/** A message type generated from opentelemetry-proto by the OpenTelemetry project itself. */
export interface MessageType {
  decode(bytes: Uint8Array): unknown;
  encode(message: unknown): { finish(): Uint8Array };
  toObject(message: unknown, options: object): unknown;
}

interface Definitions {
  metrics: { v1: { ExportMetricsServiceRequest: MessageType; ExportMetricsServiceResponse: MessageType } };
  trace: { v1: { ExportTraceServiceRequest: MessageType } };
}

/** The definitions of OTLP's services, as an older release of OpenTelemetry's own encoder carries them. */
const { opentelemetry } = createRequire(import.meta.url)('otlp-definitions/build/src/generated/root.js') as {
  opentelemetry: { proto: { collector: Definitions } };
};
export const { metrics, trace } = opentelemetry.proto.collector;
