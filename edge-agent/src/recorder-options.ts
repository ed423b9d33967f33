import { parseDuration } from '@sipfleet/contract';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Redaction } from './telemetry/recorder/redact.ts';

/** What is kept of calls, and what of it may be seen. */
export interface RecorderFlags {
  /** Bytes of each data thread's tape; 0: nothing is recorded. */
  readonly recorderMemory: number;
  /** Header names in lower case, beside the credentials that always hide. */
  readonly recorderHide: readonly string[];
  readonly recorderHashUsers: boolean;
  /** Key of the hashes, from the environment. */
  readonly recorderKey?: string;
  /** Share of ordinary calls that are kept, 0 to 1. */
  readonly recorderSample: number;
  /** Milliseconds without a sign of progress beyond which a call is slow. */
  readonly recorderSlow: number;
}

const MEBIBYTE = 1_048_576;

/** Adds the options of the flight recorder. */
export function addRecorderOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--recorder-memory <MiB>',
        'memory of recent messages per data thread, a power of two; 0 records nothing',
      )
        .argParser(memory)
        .default(16 * MEBIBYTE, '16'),
    )
    .addOption(
      new Option(
        '--recorder-hide <headers>',
        'headers whose values are crossed out, beside credentials: P-Asserted-Identity,…',
      )
        .argParser(names)
        .default([], 'none'),
    )
    .option(
      '--recorder-hash-users',
      'replace users by a hash, keyed with SIPFLEET_RECORDER_KEY, and cross out their names',
      false,
    )
    .addOption(new Option('--recorder-key <text>', 'key of the hashes').env('SIPFLEET_RECORDER_KEY').hideHelp())
    .addOption(
      new Option(
        '--recorder-sample <share>',
        'share of ordinary calls that are kept, beside those that failed or were slow',
      )
        .argParser(share)
        .default(0.01, '0.01'),
    )
    .addOption(
      new Option('--recorder-slow <duration>', 'a call without a sign of progress for so long is slow')
        .argParser(slow)
        .default(5000, '5s'),
    );
}

/** What must not leave with a message, be it kept or sent to a HEP server. */
export const redactionOf = (flags: RecorderFlags): Redaction => ({
  headers: flags.recorderHide,
  hashUsers: flags.recorderHashUsers,
  key: flags.recorderKey ?? '',
});

function memory(text: string): number {
  const value = Number(text);
  if (!/^\d{1,4}$/.test(text) || value > 1024 || (value & (value - 1)) !== 0)
    throw new InvalidArgumentError('Allowed: 0, or a power of two from 1 to 1024.');
  return value * MEBIBYTE;
}

function names(text: string): string[] {
  const list = text.split(',').map((name) => name.trim().toLowerCase());
  if (list.some((name) => !/^[a-z0-9-]+$/.test(name)))
    throw new InvalidArgumentError('Allowed: names of headers, such as P-Asserted-Identity,Contact.');
  return list;
}

function share(text: string): number {
  const value = Number(text);
  if (text === '' || Number.isNaN(value) || value < 0 || value > 1)
    throw new InvalidArgumentError('Allowed: a number from 0 to 1.');
  return value;
}

function slow(text: string): number {
  const ms = parseDuration(text);
  if (typeof ms !== 'number' || ms < 100 || ms > 180_000) throw new InvalidArgumentError('Allowed: from 100ms to 3m.');
  return ms;
}
