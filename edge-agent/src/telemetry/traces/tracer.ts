import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, type Tracer, trace } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AlwaysOnSampler, BatchSpanProcessor, type IdGenerator, TracerProvider } from '@opentelemetry/sdk-trace';
import type { Labels } from '../push/family.ts';
import type { SpanDraft } from './span.ts';
import type { SpanQueue } from './span-queue.ts';

export interface SpanSinkOptions {
  queue: SpanQueue;
  resource: Labels;
  version: string;
  /** Spans per second at most, over ten seconds: beyond it whole traces are left out. */
  perSecond: number;
  /** Milliseconds, monotonic. */
  now(): number;
}

/** Spans that wait in memory at most. */
const MOST_QUEUED = 2048;
/** The budget of so many seconds may be spent at once. */
const BURST_S = 10;
const KINDS = { internal: SpanKind.INTERNAL, server: SpanKind.SERVER, client: SpanKind.CLIENT } as const;

/** Ids come from the drafts. */
class DraftIds implements IdGenerator {
  traceId = '';
  spanId = '';
  generateTraceId(): string {
    return this.traceId;
  }
  generateSpanId(): string {
    return this.spanId;
  }
}

/** Takes drafts to OpenTelemetry, within the budget: what is over it is dropped before it costs anything, and counted. */
export class SpanSink {
  readonly #ids = new DraftIds();
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;
  readonly #options: SpanSinkOptions;
  #tokens: number;
  #filled: number;
  /** Spans that were handed on. */
  sent = 0;
  /** Spans that were left out. */
  readonly dropped = { budget: 0, queue: 0 };

  constructor(options: SpanSinkOptions) {
    const { queue: exporter, resource, version, perSecond, now } = options;
    this.#options = options;
    this.#tokens = perSecond * BURST_S;
    this.#filled = now();
    this.#provider = new TracerProvider({
      resource: resourceFromAttributes(resource),
      // What comes here was chosen already.
      sampler: new AlwaysOnSampler(),
      idGenerator: this.#ids,
      spanLimits: { attributeValueLengthLimit: 512 },
      spanProcessors: [
        new BatchSpanProcessor({
          exporter,
          maxQueueSize: MOST_QUEUED,
          maxExportBatchSize: 512,
          scheduledDelayMillis: 1000,
        }),
      ],
    });
    this.#tracer = this.#provider.getTracer('sipfleet', version);
  }

  /** All of them or none. */
  add(drafts: readonly SpanDraft[]): void {
    const count = drafts.length;
    if (this.sent - this.#options.queue.handled + count > MOST_QUEUED) this.dropped.queue += count;
    else if (!this.#afford(count)) this.dropped.budget += count;
    else {
      this.sent += count;
      for (const draft of drafts) this.#add(draft);
    }
  }

  /** Hands what waits to the queue. */
  async close(): Promise<void> {
    await this.#provider.shutdown();
  }

  #afford(count: number): boolean {
    const { perSecond, now } = this.#options;
    const at = now();
    this.#tokens = Math.min(perSecond * BURST_S, this.#tokens + ((at - this.#filled) / 1000) * perSecond);
    this.#filled = at;
    if (this.#tokens < count) return false;
    this.#tokens -= count;
    return true;
  }

  #add(draft: SpanDraft): void {
    const { traceId, parentId: spanId, link } = draft;
    this.#ids.traceId = traceId;
    this.#ids.spanId = draft.spanId;
    const parent =
      spanId === undefined
        ? ROOT_CONTEXT
        : trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED });
    const span = this.#tracer.startSpan(
      draft.name,
      {
        kind: KINDS[draft.kind],
        startTime: hrTime(draft.start),
        attributes: { ...draft.attributes, ...(draft.error !== undefined && { 'error.type': draft.error }) },
        links: link ? [{ context: { ...link, traceFlags: TraceFlags.NONE, isRemote: true } }] : [],
      },
      parent,
    );
    for (const { name, attributes, at } of draft.events) span.addEvent(name, attributes, hrTime(at));
    if (draft.error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: draft.error });
    span.end(hrTime(draft.end));
  }
}

/** Seconds and nanoseconds. A number the library may take for one of performance.now(). */
function hrTime(ms: number): [number, number] {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
