import type { TraceRef } from './ids.ts';

/** A span before OpenTelemetry knows of it. Times in milliseconds since the epoch, with a fraction. */
export interface SpanDraft {
  traceId: string;
  spanId: string;
  /** Undefined: a root. */
  parentId: string | undefined;
  name: string;
  kind: 'internal' | 'server' | 'client';
  start: number;
  end: number;
  attributes: SpanAttributes;
  events: SpanEvent[];
  /** Why it failed; undefined: it did not. */
  error: string | undefined;
  /** A span of another trace that has to do with it. */
  link?: TraceRef | undefined;
}

export type SpanAttributes = Record<string, string | number | boolean | string[]>;

export interface SpanEvent {
  at: number;
  name: string;
  attributes: SpanAttributes;
}

/** `10.0.0.1:5060`, `[2001:db8::1]:5060` as attributes. */
export function endAttributes(prefix: 'network.peer' | 'network.local' | 'server', end: string): SpanAttributes {
  const colon = end.lastIndexOf(':');
  const address = end.slice(0, Math.max(0, colon)).replace(/^\[|\]$/g, '');
  return { [`${prefix}.address`]: address, [`${prefix}.port`]: Number(end.slice(colon + 1)) };
}

/** OpenTelemetry's network.transport knows no TLS or WebSocket: they are what TCP carries. */
export const transportAttributes = (transport: string): SpanAttributes => ({
  'network.protocol.name': 'sip',
  'network.transport': transport === 'udp' ? 'udp' : 'tcp',
  'sip.transport': transport,
});
