import { type AudioReport, audioFault } from '../../media/quality.ts';
import { RtpSession } from '../../media/rtp-session.ts';
import type { SipMessage } from '../../sip/text-message.ts';
import type { UserAgent } from './agent.ts';
import { AudioNegotiation } from './audio.ts';
import { Authenticator } from './authentication.ts';
import { ProbeFault, socketFault } from './fault.ts';
import { Invitation } from './invitation.ts';
import type { Journal } from './journal.ts';
import { hostPort } from './locate.ts';
import type { CallOptions, ProbeOptions, RegisterOptions } from './options.ts';
import { type CallPlan, type ProbePlan, planCall, planRegister } from './plan.ts';
import { describePeer, Probe } from './probe.ts';
import { statusOf } from './registration.ts';
import type { CallResult } from './result.ts';
import { Session } from './session.ts';

/** Audio that has to come back may be on its way when the last packet has been sent. */
const TAIL_MS = 1000;
/** Of what was sent, this much is waited for. */
const TAIL_PART = 0.1;

/**
 * Calls TO as FROM: registers where asked to, sends the audio, hangs up, unregisters. Never rejects for what the network or the
 * peer does; ends within the deadline, and after `signal` within the grace, leaving nothing behind that a peer would let go.
 *
 * @throws {AgentError} USAGE (as a rejection) for options that cannot be meant.
 * @example await placeCall({ from: 'sip:bonnie@192.0.2.1', to: 'sip:clyde@192.0.2.2', timeoutMs: 9000 }, signal)
 */
export async function placeCall(options: CallOptions, signal: AbortSignal): Promise<CallResult> {
  const plan = planCall(options);
  let rtp: RtpSession | undefined;
  let success = '';
  let answered = false;
  const run = async (probe: Probe): Promise<void> => {
    const agent = await prepare(probe, plan, options);
    rtp = await openRtp(agent);
    try {
      success = await call(probe, plan, options, agent, rtp);
    } finally {
      answered = probe.session !== undefined;
    }
  };
  return await conclude(plan, options, signal, run, () => {
    // Without a call there is no audio to speak of.
    const audio = answered ? rtp?.report : undefined;
    rtp?.close();
    return { success, ...(audio ? { audio } : {}) };
  });
}

/**
 * Registers FROM and takes the binding back: proves that a registrar serves and knows the credentials.
 *
 * @throws {AgentError} USAGE (as a rejection) for options that cannot be meant.
 */
export async function register(options: RegisterOptions, signal: AbortSignal): Promise<CallResult> {
  const plan = planRegister(options);
  const run = async (probe: Probe): Promise<void> => {
    await prepare(probe, plan, options);
  };
  return await conclude(plan, options, signal, run, () => ({ success: `${plan.from.user} registered` }));
}

/** Runs a probe to its end, whatever happens. `close` comes after the last message. */
async function conclude(
  plan: ProbePlan,
  options: ProbeOptions,
  signal: AbortSignal,
  run: (probe: Probe) => Promise<void>,
  close: () => { success: string; audio?: AudioReport },
): Promise<CallResult> {
  const probe = new Probe(plan, options, signal);
  const { journal } = probe;
  let wentWell = false;
  try {
    await run(probe);
    wentWell = true;
  } catch (error) {
    const stopped = signal.aborted && error === signal.reason;
    journal.caught(stopped ? new ProbeFault(`stopped: ${textOf(error)}`, { verdict: 'unknown' }) : error);
  }
  const clean = await probe.leave(wentWell);
  const { success, audio } = close();
  probe.close();
  return journal.result(clean, success, audio);
}

/** Resolve, connect, register. Resolves with the agent that calls. */
async function prepare(probe: Probe, plan: ProbePlan, options: ProbeOptions): Promise<UserAgent> {
  const { journal } = probe;
  const { signal } = probe.setup;
  journal.enter('resolve');
  signal.throwIfAborted();
  const target = await probe.resolve(plan.target, signal);
  const registrar = plan.registrar && (await probe.resolve(plan.registrar, signal));
  journal.done(describePeer(target));
  journal.enter('connect');
  const authenticator = new Authenticator(options.credentials);
  const { user } = plan.from;
  const registering = registrar && (await probe.connect(registrar, user, authenticator, signal));
  const agent = await probe.connect(target, user, authenticator, signal);
  journal.done(`from ${hostPort(agent.local.address, agent.local.port)}`);
  if (registering) await probe.register(registering, signal);
  return agent;
}

/** Invite, ring, answer, media. Resolves with the line that says how well it went. */
async function call(
  probe: Probe,
  plan: CallPlan,
  options: CallOptions,
  agent: UserAgent,
  rtp: RtpSession,
): Promise<string> {
  const audio = new AudioNegotiation(rtp, agent.local.address);
  const response = await invite(probe, plan, options, agent, { audio, rtp });
  const { session } = probe;
  if (!session) return `${plan.toUri}: ${statusOf(response)}, which is accepted`;
  const { journal } = probe;
  journal.enter('media');
  const { signal } = probe.work;
  const whole = await session.talk(plan.files, signal);
  const bounds = options.expectAudio;
  if (bounds && whole) await rtp.hears(Math.ceil(rtp.report.sent * TAIL_PART) || 1, TAIL_MS, signal);
  const { sent, received } = rtp.report;
  const evidence = `${sent} packets sent, ${received} received`;
  const fault = bounds && audioFault(rtp.report, bounds);
  if (fault) journal.fail('critical', fault);
  else if (!whole) journal.fail('warning', `hung up by the peer before all was said: ${evidence}`);
  else journal.done(evidence);
  return `${plan.toUri} answered, ${evidence}`;
}

/** The call up to its answer. Resolves with the final response; `probe.session` is there if it was a 2xx. */
async function invite(
  probe: Probe,
  plan: CallPlan,
  options: CallOptions,
  agent: UserAgent,
  media: { audio: AudioNegotiation; rtp: RtpSession },
): Promise<SipMessage> {
  const { journal, setup } = probe;
  journal.enter('invite');
  const { audio, rtp } = media;
  const invitation = new Invitation(agent, {
    uri: plan.toUri,
    from: `<${plan.fromUri}>`,
    to: `<${plan.toUri}>`,
    offer: audio.offer(),
    hard: probe.hard.signal,
    progress: (response) => {
      follow(journal, response);
      // Early media: a description in a provisional response is as good as the answer's (RFC 3261 §13.2.1).
      if (response.body !== '') audio.accept(response);
    },
  });
  probe.invitation = invitation;
  const { dialog, response } = await invitation.run(setup.signal, options.acceptedCodes ?? []);
  setup.done();
  follow(journal, response);
  if (!dialog) {
    journal.done(statusOf(response), response.status);
    return response;
  }
  probe.session = new Session(agent, dialog, audio, rtp);
  const wrong = response.body === '' && audio.agreed ? undefined : audio.accept(response);
  if (wrong) throw new ProbeFault(`answered with ${wrong}`, { code: response.status });
  rtp.answered();
  journal.done(statusOf(response), response.status);
  return response;
}

/** invite → ring → answer, as the responses tell. */
function follow(journal: Journal, response: SipMessage): void {
  const said = [statusOf(response), response.status] as const;
  if (journal.current === 'invite') {
    journal.done(...said);
    journal.enter('ring');
  }
  if (journal.current !== 'ring' || response.status === 100) return;
  // Without ringing there is no such phase, only the answer.
  if (response.status < 200) journal.done(...said);
  journal.enter('answer');
}

async function openRtp(agent: UserAgent): Promise<RtpSession> {
  try {
    return await RtpSession.open(agent.local.address);
  } catch (error) {
    throw socketFault(`RTP on ${agent.local.address}`, error);
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
