import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import type { Batch } from '../push/spool.ts';

/**
 * Spans that wait for the push loop at most: a receiver that takes a request and says nothing holds the loop for ten seconds, twice in a row at the
 * worst, which is this many at the default budget.
 */
const MOST = 4096;

/**
 * The end of OpenTelemetry's pipeline: makes requests of batches of spans, for the push loop that also sends metrics. OpenTelemetry's own OTLP exporter
 * tries for ten seconds and then loses the batch; the loop lets it wait on disk, bounded, until the receiver is back.
 */
export class SpanQueue implements SpanExporter {
  #waiting: Batch[] = [];
  #spans = 0;
  /** Spans that came out of the processor, whatever became of them. */
  handled = 0;
  /** Spans for which there was no room. */
  dropped = 0;

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    this.handled += spans.length;
    const room = this.#spans + spans.length <= MOST;
    const body = room ? ProtobufTraceSerializer.serializeRequest(spans) : undefined;
    if (body) {
      this.#waiting.push({ body, samples: spans.length });
      this.#spans += spans.length;
    } else this.dropped += spans.length;
    // Counted; and a failure would make the processor's shutdown reject before it has handed over the rest.
    done({ code: ExportResultCode.SUCCESS });
  }

  /** Hands over what waits. */
  take(): Batch[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#spans = 0;
    return waiting;
  }

  async shutdown(): Promise<void> {}
}
