import type { AudioBounds } from '../../media/quality.ts';
import type { ProbeTap } from '../../ports.ts';

export type ProbeTransport = 'udp' | 'tcp' | 'tls' | 'ws';

/** What every probe needs. */
export interface ProbeOptions {
  /** `sip:bonnie@example.com`: whom the probe plays. */
  from: string;
  /** `host[:port]`: everything is sent there, and registered there unless a registrar is given. */
  proxy?: string;
  /** `host[:port]` to register at; false: do not register. Left out: the proxy, where one is given. */
  registrar?: string | false;
  /** Left out: what the URI of the target says, else UDP (TLS for `sips:`). */
  transport?: ProbeTransport;
  /** `ip[:port]` to send from. Left out: FROM's host where it is an address of this machine, else what the kernel chooses. */
  leg?: string;
  credentials?: { username: string; password: string };
  /** TLS: certificates to trust in PEM instead of the well-known ones, or no verification at all. */
  tls?: { ca?: string; insecure?: boolean };
  /** Addresses (`ip[:port]`) of the DNS servers to ask; left out: the machine's own. */
  nameServers?: readonly string[];
  /** Milliseconds until the call must be answered (or the registration done). Default 30,000. */
  timeoutMs?: number;
  /** Milliseconds for the whole probe, its way out included. Default: the timeout, the audio, and 10 s. */
  deadlineMs?: number;
  /** Told every message sent (`>`) and received (`<`), credentials blotted out. */
  trace?: (direction: '>' | '<', peer: string, message: string) => void;
  /** Told the same with nothing blotted out. */
  tap?: ProbeTap;
}

export type RegisterOptions = ProbeOptions;

export interface CallOptions extends ProbeOptions {
  /** `sip:clyde@example.com`, or a user of FROM's domain: `clyde`. */
  to: string;
  /** PCMU at 8,000 bytes a second each, one after the other, a re-INVITE before each further one. Left out: a second of tone. */
  send?: readonly Uint8Array[];
  /** Audio must come back, within these bounds. Left out: whatever comes is only reported. */
  expectAudio?: AudioBounds;
  /** Final codes of the INVITE that prove enough, such as 486; 2xx always do. */
  acceptedCodes?: readonly number[];
}

/** Milliseconds for the way out: CANCEL or BYE, and REGISTER with Expires 0. */
export const GRACE_MS = 2000;
/** Milliseconds that BYE waits for its answer in a call that has gone well. */
export const BYE_MS = 4000;
const DEFAULT_TIMEOUT_MS = 30_000;
/** What the default deadline leaves for BYE, unregistering and re-INVITEs. */
const REST_MS = 10_000;
/** PCMU: bytes a millisecond. */
const BYTES_PER_MS = 8;

/** The limits of a probe, with defaults filled in. */
export function limitsOf(options: ProbeOptions, audio: readonly Uint8Array[]) {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const audioMs = audio.reduce((sum, file) => sum + file.length / BYTES_PER_MS, 0);
  return { timeoutMs, deadlineMs: options.deadlineMs ?? timeoutMs + audioMs + REST_MS };
}
