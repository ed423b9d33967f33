import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { otlpRetryable } from '../push/delivery.ts';
import type { Exporter, ExporterView } from '../push/exporter.ts';
import { rejectedPoints } from '../push/otlp.ts';
import type { PushDeps, TracePushOptions } from '../push/pushes.ts';
import { resourceOf, startExporter } from '../push/pushes.ts';
import type { Batch } from '../push/spool.ts';
import type { FlightRecorder } from '../recorder/flight-recorder.ts';
import { CallTraces } from './call-traces.ts';
import { CheckTraces } from './check-traces.ts';
import { SpanQueue } from './span-queue.ts';
import { SpanSink } from './tracer.ts';

/** What became of spans. */
export interface TraceView {
  sent: number;
  dropped: Readonly<Record<'budget' | 'queue', number>>;
}

/** How often what the batch processor gave is sent. */
const INTERVAL_MS = 1000;
/** What the end of the process may wait for a receiver. */
const LAST_WORDS_MS = 5000;

const compress = promisify(gzip);

/** Traces of calls and checks, on their way to an OTLP receiver. */
export class Traces {
  readonly calls: CallTraces;
  readonly checks: CheckTraces;
  readonly #sink: SpanSink;
  readonly #queue = new SpanQueue();
  readonly #exporter: Exporter;

  /** `sampled`: share of ordinary probes that is kept. */
  constructor(options: TracePushOptions, deps: Omit<PushDeps, 'families'>, sampled: number) {
    const { version } = deps.identity;
    const random = deps.random ?? Math.random;
    this.#sink = new SpanSink({
      queue: this.#queue,
      resource: resourceOf(deps.identity, options.resource),
      version,
      perSecond: options.spansPerSecond,
      now: () => performance.now(),
    });
    const add = this.#sink.add.bind(this.#sink);
    this.calls = new CallTraces(add, Date.now);
    this.checks = new CheckTraces({ add, now: Date.now, sampled, random });
    this.#exporter = this.#start(options, deps);
  }

  view(): TraceView {
    const { budget, queue } = this.#sink.dropped;
    return { sent: this.#sink.sent, dropped: { budget, queue: queue + this.#queue.dropped } };
  }

  push(): ExporterView {
    return this.#exporter.view();
  }

  /** Tells what `recorder` still has, and pushes for the last time; what is left then waits on disk. Never takes longer than five seconds. */
  async close(recorder?: FlightRecorder): Promise<void> {
    for (const call of recorder?.list() ?? []) this.calls.evicted(call);
    const said = this.#sink
      .close()
      .catch(() => {})
      .then(() => this.#exporter.close());
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LAST_WORDS_MS);
    });
    await Promise.race([said.catch(() => {}), late]);
    clearTimeout(timer);
  }

  #start({ url, headers, gzip: zipped, spoolBytes }: TracePushOptions, deps: Omit<PushDeps, 'families'>): Exporter {
    const queue = this.#queue;
    async function* collect(): AsyncGenerator<Batch> {
      for (const { body, samples } of queue.take()) yield { samples, body: zipped ? await compress(body) : body };
    }
    const all = {
      'content-type': 'application/x-protobuf',
      ...(zipped ? { 'content-encoding': 'gzip' } : {}),
      ...headers,
    };
    return startExporter(
      {
        directory: `otlp-traces${zipped ? '-gzip' : ''}`,
        name: 'otlp-traces',
        what: 'spans',
        intervalMs: INTERVAL_MS,
        spoolBytes,
      },
      deps,
      { url, headers: all, retryable: otlpRetryable },
      collect,
      // ExportTraceServiceResponse has its partial_success where that of metrics has it.
      rejectedPoints,
    );
  }
}
