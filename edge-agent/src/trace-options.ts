import { type Command, InvalidArgumentError, Option } from 'commander';
import { AgentError } from './errors.ts';
import {
  compressed,
  generalEndpoint,
  generalHeaders,
  headers,
  httpUrl,
  type PushFlags,
  resource,
} from './push-options.ts';
import type { RecorderFlags } from './recorder-options.ts';
import type { TracePushOptions } from './telemetry/push/pushes.ts';

/** What commander makes of the options below. */
export interface TraceFlags {
  otlpTraces?: URL;
  otlpTracesHeaders?: Record<string, string>;
  traceBudget: number;
}

/** Adds the options of traces. Which calls are kept, the flight recorder's options say. */
export function addTraceOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--otlp-traces <url>', 'push traces of kept calls and checks by OTLP/HTTP to this URL')
        .env('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT')
        .argParser(httpUrl),
    )
    .addOption(
      new Option('--otlp-traces-headers <list>', 'name=value,…')
        .env('OTEL_EXPORTER_OTLP_TRACES_HEADERS')
        .argParser(headers)
        .hideHelp(),
    )
    .addOption(
      new Option('--trace-budget <spans>', 'spans per second at most: beyond it whole traces are left out and counted')
        .argParser(spans)
        .default(200, '200'),
    );
}

/** Undefined: traces are not pushed. Throws AgentError USAGE where they could not be made. */
export function traceOptionsOf(
  flags: TraceFlags & PushFlags & RecorderFlags,
  environment: NodeJS.ProcessEnv = process.env,
): TracePushOptions | undefined {
  const { otlpTraces, otlpTracesHeaders, otlpCompression, pushSpool, recorderMemory, traceBudget } = flags;
  if (otlpTraces && recorderMemory === 0)
    throw new AgentError(
      'USAGE',
      '--otlp-traces: traces are made of what the recorder keeps; give --recorder-memory as well',
    );
  const url = otlpTraces ?? generalEndpoint(environment, 'traces');
  if (!url) return undefined;
  return {
    url,
    headers: { ...generalHeaders(environment), ...otlpTracesHeaders },
    gzip: compressed(otlpCompression, environment, 'TRACES'),
    resource: resource(environment),
    spoolBytes: pushSpool,
    spansPerSecond: traceBudget,
  };
}

function spans(text: string): number {
  const value = Number(text);
  if (!/^\d{1,6}$/.test(text) || value < 1) throw new InvalidArgumentError('Allowed: a whole number from 1 to 999999.');
  return value;
}
