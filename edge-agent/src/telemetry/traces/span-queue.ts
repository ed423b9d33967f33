import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import type { Batch } from '../push/spool.ts';

/** Requests that wait for the push loop at most; behind them waits what the batch processor holds. */
const MOST = 4;

/**
 * The end of OpenTelemetry's pipeline: makes requests of batches of spans, for the push loop that also sends metrics. OpenTelemetry's own OTLP exporter
 * tries for ten seconds and then loses the batch; the loop lets it wait on disk, bounded, until the receiver is back.
 */
export class SpanQueue implements SpanExporter {
  #waiting: Batch[] = [];
  /** Spans that came out of the processor, whatever became of them. */
  handled = 0;
  /** Spans for which there was no room. */
  dropped = 0;

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    this.handled += spans.length;
    const body = this.#waiting.length < MOST ? ProtobufTraceSerializer.serializeRequest(spans) : undefined;
    if (body) this.#waiting.push({ body, samples: spans.length });
    else this.dropped += spans.length;
    // Counted; and a failure would make the processor's shutdown reject before it has handed over the rest.
    done({ code: ExportResultCode.SUCCESS });
  }

  /** Hands over what waits. */
  take(): Batch[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }

  async shutdown(): Promise<void> {}
}
