import { join } from 'node:path';
import type { Host } from '../netns/host.ts';
import type { Process } from '../netns/process.ts';

const SCRIPT = join(import.meta.dirname, 'netsip.pl');

export interface NetSipOptions {
  host: Host;
  /** `10.77.0.20:5060` */
  proxy: string;
  domain: string;
  user: string;
  password: string;
  port: number;
}

const start = (mode: string, o: NetSipOptions, ...rest: string[]): Process =>
  o.host.spawn('perl', [SCRIPT, mode, `${o.host.ipv4}:${o.port}`, o.proxy, o.domain, o.user, o.password, ...rest]);

/** Registers, then answers one call, echoes its media, and ends when the caller hangs up. Prints `registered`, `ringing`, `answered`, `ended`. */
export const netSipAnswer = (options: NetSipOptions): Process => start('answer', options);

/** Registers, calls, sends a second of audio, hangs up. Prints `registered`, `established`, `media N packets`, `ended`. */
export const netSipCall = (options: NetSipOptions, callee: string): Process => start('call', options, callee);
