import { Process, type ProcessOptions } from './process.ts';

/** Where a peer runs: a namespace, or this machine on a loopback address. */
export interface Host {
  readonly ipv4: string;
  readonly ipv6: string;
  spawn(command: string, args: readonly string[], options?: ProcessOptions): Process;
}

/** This machine under one of its loopback addresses (Linux answers on all of 127.0.0.0/8), for tests without root. */
export const loopback = (ipv4: string): Host => ({
  ipv4,
  ipv6: '::1',
  spawn: (command, args, options) => new Process(command, args, options),
});

/** `10.0.0.1` → `10.0.0.1:5060`, `::1` → `[::1]:5060`. */
export const hostPort = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
