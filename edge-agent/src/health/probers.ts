import type { CheckType } from '@sipfleet/contract';
import type { ProbeTap, Secrets } from '../ports.ts';
import { GRACE_MS } from './call/options.ts';
import { probeTcp, probeTls } from './connect.ts';
import { createCallProber, createRegisterProber } from './dummy-call.ts';
import { probeOptions } from './options.ts';
import { hostPort, inSeconds, type ProbedMessage, type ProbeOutcome, type Prober } from './probe.ts';

/** Probers end by themselves at their timeout, with better evidence than is to be had from here: this much later they are left. */
const BACKSTOP_MS = 250;
/** What a probe has that is stopped: a call says BYE, a registration is taken back. */
const WAY_OUT_MS = GRACE_MS + BACKSTOP_MS;

/** Why a probe that has come to its end is told to stop. Without a reason of ours each would get a DOMException with its stack. */
const OVER = new Error('the probe is over');

/** One prober for all types of checks. Whatever a type's prober does, an outcome is there in time, and never a rejection. `tap` sees its SIP messages. */
export function createProber(secrets: () => Secrets, tap?: ProbeTap): Prober {
  const probers: Record<CheckType, Prober> = {
    options: probeOptions,
    tcp: probeTcp,
    tls: probeTls,
    register: createRegisterProber(secrets),
    call: createCallProber(secrets),
  };
  return async (target, signal) => {
    const { type } = target.check;
    const messages: ProbedMessage[] = [];
    // Pings fail by the thousand where a backend is down, and say nothing: they got no answer.
    const seen = type === 'call' || type === 'register' ? recording(messages, tap) : tap;
    const outcome = await hardDeadline((stop) => probers[type](target, stop, seen), target.timeoutMs, signal);
    return outcome.result === 'failure' && messages.length > 0 ? { ...outcome, messages } : outcome;
  };
}

/** More than any probe needs: whoever answers with a storm fills no memory. */
const MOST_MESSAGES = 200;

const recording =
  (messages: ProbedMessage[], tap: ProbeTap | undefined): ProbeTap =>
  (message) => {
    tap?.(message);
    if (messages.length >= MOST_MESSAGES) return;
    const { transport, sent, local, remote, bytes } = message;
    // Whoever sees a message does not keep it: its buffer may be used again.
    messages.push({
      at: Date.now(),
      sent,
      transport,
      local: hostPort(local),
      remote: hostPort(remote),
      bytes: bytes.slice(),
    });
  };

/**
 * The outcome of `run`, or a failure when that takes longer than it may; then `run` is told to stop and not waited for.
 * When the signal says stop, `run` is told and has a little time to leave nothing behind.
 */
export function hardDeadline(
  run: (stop: AbortSignal) => Promise<ProbeOutcome>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    const stop = new AbortController();
    const stopped: ProbeOutcome = { result: 'inconclusive', evidence: 'probe stopped' };
    const onAbort = (): void => {
      stop.abort();
      clearTimeout(timer);
      timer = setTimeout(() => finish(stopped), WAY_OUT_MS);
    };
    let timer = setTimeout(
      () => finish({ result: 'failure', evidence: `no result in ${inSeconds(timeoutMs)}` }),
      timeoutMs + BACKSTOP_MS,
    );
    const finish = (outcome: ProbeOutcome): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      stop.abort(OVER);
      resolve(outcome);
    };
    if (signal.aborted) return finish(stopped);
    signal.addEventListener('abort', onAbort, { once: true });
    run(stop.signal).then(finish, (error: Error) =>
      finish({ result: 'inconclusive', evidence: `cannot be probed: ${error.message}`.slice(0, 200) }),
    );
  });
}
