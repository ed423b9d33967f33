import dgram from 'node:dgram';
import net from 'node:net';
import tls from 'node:tls';
import { acceptsCode } from '@sipfleet/contract';
import type { ProbeTap } from '../ports.ts';
import { newBranch } from './identifiers.ts';
import { type Answer, isIPv6, OPTIONS_LIMIT, optionsRequest, readAnswer, StreamAnswers } from './options-message.ts';
import { describe, inSeconds, type ProbeOutcome, type ProbeTarget } from './probe.ts';

/** RFC 3261 §17.1.2.1: an unreliable transport sends a request again after T1, then twice as long, up to T2. */
const T1 = 500;
const T2 = 4000;

/** Answers that prove that SIP is not served: 503 says so itself, and a 408 comes from an element that got no answer either. */
const NOT_SERVING = new Set([408, 503]);

/**
 * Sends one OPTIONS (RFC 3261 §11) and waits for its final response, never longer than `timeoutMs`, never rejecting.
 *
 * @example await probeOptions({ address: '10.0.0.11', port: 5060, transport: 'udp', localAddress: '10.0.1.5', timeoutMs: 2000 })
 */
export function probeOptions(target: ProbeTarget, signal?: AbortSignal, tap?: ProbeTap): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    let cleanup = (): void => {};
    let finished = false;
    const finish = (outcome: ProbeOutcome): void => {
      if (finished) return;
      finished = true;
      clearTimeout(deadline);
      signal?.removeEventListener('abort', stopped);
      cleanup();
      resolve(outcome);
    };
    const deadline = setTimeout(
      () => finish({ result: 'failure', phase: 'answer', evidence: `no answer in ${inSeconds(target.timeoutMs)}` }),
      target.timeoutMs,
    );
    const stopped = (): void => finish({ result: 'inconclusive', evidence: 'probe stopped' });
    if (signal?.aborted) return stopped();
    signal?.addEventListener('abort', stopped, { once: true });
    const probe = target.transport === 'udp' ? probeUdp : probeStream;
    const failed = (error: unknown): void =>
      finish({ result: 'failure', phase: 'connect', evidence: describe(error as Error) });
    try {
      cleanup = probe(target, target.localAddress, {
        final: (answer) => finish(outcomeOf(answer, target)),
        failed,
        saw: sighting(target, tap),
      });
    } catch (error) {
      failed(error);
    }
  });
}

interface Callbacks {
  final(answer: Answer): void;
  failed(error: NodeJS.ErrnoException): void;
  /** A message was sent or received by the socket with this address, which is asked for where somebody wants to know. */
  saw(sent: boolean, local: () => { address: string; port: number }, bytes: Uint8Array): void;
}

function sighting({ transport, address, port }: ProbeTarget, tap: ProbeTap | undefined): Callbacks['saw'] {
  if (!tap) return () => {};
  return (sent, local, bytes) => tap({ transport, sent, local: local(), remote: { address, port }, bytes });
}

function outcomeOf(answer: Answer, { check }: ProbeTarget): ProbeOutcome {
  const serves = acceptsCode(check.codes, answer.status, (status) => !NOT_SERVING.has(status));
  const evidence = `${answer.status} ${answer.reason}`.trim().slice(0, 120);
  return { result: serves ? 'success' : 'failure', phase: 'answer', evidence };
}

/**
 * A socket of its own per probe, connected: only a connected socket learns of ICMP errors, and a fresh port leaves
 * late answers to an earlier probe behind. Returns what closes it.
 */
function probeUdp(target: ProbeTarget, localAddress: string | undefined, on: Callbacks): () => void {
  const socket = dgram.createSocket({ type: isIPv6(target.address) ? 'udp6' : 'udp4' });
  const branch = newBranch();
  let retransmit: NodeJS.Timeout | undefined;
  let closeSuccessor: (() => void) | undefined;
  let closed = false;
  const close = (): void => {
    clearTimeout(retransmit);
    if (!closed) socket.close();
    closed = true;
    closeSuccessor?.();
  };
  const send = (request: Uint8Array, wait: number): void => {
    if (closed) return;
    socket.send(request);
    on.saw(true, () => socket.address(), request);
    retransmit = setTimeout(() => send(request, Math.min(wait * 2, T2)), wait);
  };
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (closed) return;
    // A standby does not hold the listener's address yet; it still has to know which backends live.
    if (error.code !== 'EADDRNOTAVAIL' || localAddress === undefined) return on.failed(error);
    close();
    closeSuccessor = probeUdp(target, undefined, on);
  });
  socket.on('message', (bytes) => {
    on.saw(false, () => socket.address(), bytes);
    const answer = readAnswer(bytes, branch);
    if (answer && answer.status >= 200) on.final(answer);
  });
  socket.bind({ port: 0, ...(localAddress === undefined ? {} : { address: localAddress }) }, () => {
    if (closed) return;
    socket.connect(target.port, target.address, () => {
      if (!closed) send(optionsRequest(target, socket.address(), branch), T1);
    });
  });
  return close;
}

function probeStream(target: ProbeTarget, localAddress: string | undefined, on: Callbacks): () => void {
  const branch = newBranch();
  let answers = new StreamAnswers(branch);
  let closeSuccessor: (() => void) | undefined;
  const { address: host, port } = target;
  const where = { host, port, ...(localAddress === undefined ? {} : { localAddress }) };
  const socket = target.transport === 'tls' ? tls.connect({ ...where, ...tlsOptions(target) }) : net.connect(where);
  const close = (): void => {
    socket.destroy();
    closeSuccessor?.();
  };
  socket.on(target.transport === 'tls' ? 'secureConnect' : 'connect', () => {
    const own = { address: socket.localAddress as string, port: socket.localPort as number };
    const request = optionsRequest(target, own, branch);
    socket.write(request);
    on.saw(true, () => own, request);
    answers = new StreamAnswers(branch, (message) => on.saw(false, () => own, message));
  });
  socket.on('data', (bytes) => {
    const final = answers.add(bytes);
    if (final) on.final(final);
    else if (answers.length > OPTIONS_LIMIT) on.failed(new Error(`answer longer than ${OPTIONS_LIMIT} bytes`));
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRNOTAVAIL' || localAddress === undefined) return on.failed(error);
    socket.destroy();
    closeSuccessor = probeStream(target, undefined, on);
  });
  socket.on('close', () => {
    if (!closeSuccessor) on.failed(new Error('connection closed without an answer'));
  });
  return close;
}

function tlsOptions({ tls: options, address }: ProbeTarget): tls.ConnectionOptions {
  const { verify = true, ca, serverName } = options ?? {};
  return {
    rejectUnauthorized: verify,
    ...(ca !== undefined && { ca }),
    // SNI holds names only (RFC 6066 §3); the certificate is compared with the address where no name is given.
    ...(serverName === undefined
      ? { checkServerIdentity: (_host: string, cert: tls.PeerCertificate) => tls.checkServerIdentity(address, cert) }
      : { servername: serverName }),
  };
}
