import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import type { CallResult } from '../../edge-agent/src/health/call/result.ts';
import { Process } from '../netns/process.ts';

const CHECK_SIP = join(import.meta.dirname, '../../edge-agent/bin/check_sip.js');
export const SOUNDS = join(import.meta.dirname, '../../infra/examples/sounds');
/** No run may take longer, whatever it was asked for: the original took 31 s and more, or for ever. */
export const NO_HANG = 25_000;

const opened: { close(): unknown }[] = [];
afterEach(async () => {
  for (const thing of opened.splice(0).reverse()) await thing.close();
});

/** Closes it after the test. */
export function keep<T extends { close(): unknown }>(thing: T): T {
  opened.push(thing);
  return thing;
}

/** A file that lives as long as the test. */
export function file(name: string, content: string | Uint8Array): string {
  const directory = mkdtempSync(join(tmpdir(), 'sipfleet-check-sip-'));
  keep({ close: () => rmSync(directory, { recursive: true, force: true }) });
  writeFileSync(join(directory, name), content);
  return join(directory, name);
}

/** The command, started. */
export function start(args: readonly string[], env: Record<string, string> = {}): Process {
  const check = new Process(process.execPath, [CHECK_SIP, ...args], { env, cwd: SOUNDS });
  keep({ close: () => check.end('SIGKILL') });
  return check;
}

export interface Ended {
  code: number | null;
  output: string;
}

export async function ended(check: Process): Promise<Ended> {
  const timer = setTimeout(() => check.signal('SIGKILL'), NO_HANG);
  const { code } = await check.exited;
  clearTimeout(timer);
  return { code, output: check.output };
}

/** The command, run to its end as an operator types it. */
export const checkSip = (args: readonly string[], env?: Record<string, string>): Promise<Ended> =>
  ended(start(args, env));

/** The command with `--json`. */
export async function checkSipJson(...args: string[]): Promise<{ code: number | null; result: CallResult }> {
  const { code, output } = await checkSip(['--json', ...args]);
  return { code, result: JSON.parse(output) as CallResult };
}

export const FROM = 'sip:bonnie@127.0.0.1';
