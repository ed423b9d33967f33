import net from 'node:net';
import tls from 'node:tls';
import { describe, inSeconds, type ProbeOutcome, type Prober, type ProbeTarget } from './probe.ts';

const DEFAULT_DAYS_LEFT = 7;
const DAY_MS = 86_400_000;

/** `tcp`: a connection is accepted. Proves a port, not a SIP server. */
export const probeTcp: Prober = (target, signal) =>
  connected(target, signal, (done) => {
    const socket = net.connect(where(target), () =>
      done({ result: 'success', phase: 'connect', evidence: 'connected' }),
    );
    return socket;
  });

/**
 * `tls`: a handshake, and how long the certificate still lives. Who signed it and for which name is not judged: a PBX's own
 * certificate is as good as any here, and an expired one is what takes phones off.
 */
export const probeTls: Prober = (target, signal) =>
  connected(target, signal, (done) => {
    const servername = target.tls?.serverName;
    const options = {
      ...where(target),
      rejectUnauthorized: false,
      ...(servername === undefined ? {} : { servername }),
    };
    const socket = tls.connect(options, () => done(judgeCertificate(socket.getPeerCertificate(), target)));
    return socket;
  });

function judgeCertificate({ valid_from, valid_to }: tls.PeerCertificate, target: ProbeTarget): ProbeOutcome {
  const now = Date.now();
  const days = (Date.parse(valid_to) - now) / DAY_MS;
  const until = `${new Date(valid_to).toISOString().slice(0, 10)}`;
  const failed = (evidence: string): ProbeOutcome => ({ result: 'failure', phase: 'connect', evidence });
  if (days < 0) return failed(`certificate expired on ${until}`);
  if (Date.parse(valid_from) > now) return failed(`certificate is valid only from ${valid_from}`);
  const least = target.check.daysLeft ?? DEFAULT_DAYS_LEFT;
  const left = `certificate ends on ${until}, in ${Math.floor(days)} days`;
  return days < least
    ? failed(`${left}, fewer than ${least}`)
    : { result: 'success', phase: 'connect', evidence: left };
}

const where = (target: ProbeTarget) => ({ host: target.address, port: target.check.port ?? target.port });

/** Runs one attempt to connect to its end: connected, refused, out of time or stopped, whatever comes first. */
function connected(
  { timeoutMs }: ProbeTarget,
  signal: AbortSignal,
  open: (done: (outcome: ProbeOutcome) => void) => net.Socket,
): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    const failed = (evidence: string): void => done({ result: 'failure', phase: 'connect', evidence });
    const stopped = (): void => done({ result: 'inconclusive', evidence: 'probe stopped' });
    const deadline = setTimeout(() => failed(`no connection in ${inSeconds(timeoutMs)}`), timeoutMs);
    let socket: net.Socket | undefined;
    const done = (outcome: ProbeOutcome): void => {
      clearTimeout(deadline);
      signal.removeEventListener('abort', stopped);
      socket?.destroy();
      resolve(outcome);
    };
    if (signal.aborted) return stopped();
    signal.addEventListener('abort', stopped, { once: true });
    socket = open(done);
    socket.on('error', (error) => failed(describe(error)));
    // A peer that takes the connection and ends it in the middle of a handshake.
    socket.on('close', () => failed('connection closed'));
  });
}
