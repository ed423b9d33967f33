import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RFC4475 } from './rfc4475.ts';
import { RFC5118 } from './rfc5118.ts';

/** A request that goes on to a backend. Everything that is not named here leaves as it came, byte for byte. */
export interface Forwarded {
  outcome: 'forwarded';
  /** Via values (not lines) that it leaves with, ours among them. */
  vias: number;
  /** Max-Forwards that it leaves with. */
  hops: number;
  /** Bytes of body that belong to it and arrive unchanged. */
  body: number;
  /** Header fields that it gains beside our Via. */
  gains: readonly string[];
}

/** A request that the proxy answers itself. */
export interface Answered {
  outcome: 'answered';
  status: number;
  /** Whole header lines that the answer must have. */
  lines?: readonly string[];
}

/**
 * A response. As it stands its top Via is not ours, so it goes nowhere (RFC 3261 §16.7 item 3).
 * With our Via on top of it, or in place of its first: `forwarded` with our Via taken off and nothing else changed; `dropped`;
 * `heard`: understood, and sent on or not, since a proxy with a transaction keeps a 100 (§16.7 item 5) and one without passes it on (§16.11).
 */
export interface Response {
  outcome: 'response';
  ours: 'above' | 'first';
  then: 'forwarded' | 'dropped' | 'heard';
}

export type Expected = Forwarded | Answered | Response;

export interface Entry {
  /** Below this folder: `rfc4475/3.1.1.1-wsinv.sip`. */
  file: string;
  /** What the RFC says that a proxy does with it, in a few words. */
  about: string;
  expected: Expected;
  /**
   * Over a stream the same happens, but where the RFC has framing fail: `closed` by us, or `waits` for bytes that never come.
   * `datagram`: it says something of datagrams alone.
   */
  stream?: 'closed' | 'waits' | 'datagram';
  /** What our proxy does as long as a known fault stands; the tests hold that, so that the repair is told to take this away. */
  knownDefect?: { why: string; now: Expected };
}

export const CORPUS: readonly Entry[] = [...RFC4475, ...RFC5118];

/** The bytes of a file of this folder. */
export const readMessage = (file: string): Uint8Array => new Uint8Array(readFileSync(join(import.meta.dirname, file)));

/** The number before the name: `rfc4475/3.1.1.1-wsinv.sip` → `3.1.1.1`. */
export const sectionOf = (file: string): string => /\/([\d.]+)-/.exec(file)![1]!;
