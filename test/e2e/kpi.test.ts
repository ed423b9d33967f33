import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { SipMessage } from '../../edge-agent/src/sip/text-message.ts';
import { Agent } from '../interop/agent.ts';
import { cancellingCaller } from '../interop/cancel-scenarios.ts';
import { Prometheus } from '../interop/prometheus.ts';
import { callScenario, refusedRegisterScenario, refusedScenario, registerScenario } from '../interop/scenarios.ts';
import { row, Sipp, target } from '../interop/sipp.ts';
import { loopback } from '../netns/host.ts';
import { missingPeers } from '../setup/peers.ts';
import { Client, canUseLoopback, freePort, request } from './loopback.ts';
import { type Script, ScriptedUas } from './scripted-uas.ts';

const AGENT = '127.0.7.1';
const PHONES = '127.0.7.2';
const HOLD_MS = 400;

/** Authenticated, or challenged now. */
const authenticated = (r: SipMessage): boolean =>
  r.get('authorization') !== undefined || r.get('proxy-authorization') !== undefined;
const CHALLENGE = 'Digest realm="example.test", nonce="n1", algorithm=MD5';
const userOf = (r: SipMessage): string => /sip:([^@]+)@/.exec(r.get('to')!)![1]!;

/** A PBX that does what the callee's name says. */
async function startPbx(): Promise<ScriptedUas> {
  const invite: Script = (r, from) => {
    const user = userOf(r);
    if (user === 'silent') return;
    if (user === 'challenged407' && !authenticated(r))
      return pbx.reply(r, from, '407 Proxy Authentication Required', { headers: [['Proxy-Authenticate', CHALLENGE]] });
    if (user === 'challenged401' && !authenticated(r))
      return pbx.reply(r, from, '401 Unauthorized', { headers: [['WWW-Authenticate', CHALLENGE]] });
    if (/^\d+$/.test(user)) return pbx.reply(r, from, `${user} No`);
    const headers = r.list('record-route').map((route): [string, string] => ['Record-Route', route]);
    pbx.reply(r, from, '100 Trying');
    pbx.reply(r, from, '180 Ringing', { headers });
    if (user === 'ringing') return;
    pbx.reply(r, from, '200 OK', { sdp: 4000, headers });
  };
  const register: Script = (r, from) => {
    const user = userOf(r);
    if (user === 'silent') return;
    if (/^\d+$/.test(user)) return pbx.reply(r, from, `${user} No`);
    if (!authenticated(r))
      return pbx.reply(r, from, '401 Unauthorized', { headers: [['WWW-Authenticate', CHALLENGE]] });
    pbx.reply(r, from, '200 OK', { headers: [['Contact', `${r.get('contact')};expires=600`]] });
  };
  const pbx = await ScriptedUas.start({ INVITE: invite, REGISTER: register });
  return pbx;
}

/** Calls by what their callee answers, and that many of each. */
const REFUSED = { 302: 4, 404: 2, 408: 2, 480: 3, 486: 7, 500: 2, 503: 5, 504: 2, 600: 1, 603: 1 };
const CALLS = { answered: 20, challenged407: 4, challenged401: 3, held: 2, cancelled: 2, silent: 3 };
const REFUSED_REGISTER = { 402: 1, 403: 2, 500: 1 };
const REGISTER = { accepted: 6, silent: 1 };
const sum = (...counts: number[]): number => counts.reduce((all, n) => all + n, 0);
const refused = (...codes: (keyof typeof REFUSED)[]): number => sum(...codes.map((code) => REFUSED[code]));

/** RFC 6076 §4, by hand: INVITEs, those answered 200, and so on. */
const CHALLENGES = CALLS.challenged407 + CALLS.challenged401;
const INVITES = sum(...Object.values(CALLS), CHALLENGES, ...Object.values(REFUSED));
const OK = sum(CALLS.answered, CHALLENGES, CALLS.held);
const EFFECTIVE = OK + refused(480, 486, 600, 603);
const INEFFECTIVE = refused(408, 500, 503, 504) + CALLS.silent;
const COMPLETED = OK - CALLS.held;
const REGISTERS = sum(REGISTER.accepted * 2, REGISTER.silent, ...Object.values(REFUSED_REGISTER));
const REGISTER_FAILURES = sum(REFUSED_REGISTER[403], REFUSED_REGISTER[500], REGISTER.silent);

/** Recording rules and what they must say, of farm and origin or of the farm. */
const RATIOS = {
  'farm_origin:sipfleet_session_establishment:ratio_rate5m': OK / (INVITES - refused(302)),
  'farm_origin:sipfleet_session_establishment_adjusted:ratio_rate5m': OK / (INVITES - refused(302) - CHALLENGES),
  'farm_origin:sipfleet_session_effectiveness:ratio_rate5m': EFFECTIVE / (INVITES - refused(302)),
  'farm_origin:sipfleet_session_effectiveness_adjusted:ratio_rate5m': EFFECTIVE / (INVITES - refused(302) - CHALLENGES),
  'farm_origin:sipfleet_ineffective_session_attempts:ratio_rate5m': INEFFECTIVE / INVITES,
  'farm_origin:sipfleet_session_completion:ratio_rate1h': COMPLETED / INVITES,
  'farm:sipfleet_ineffective_registration_attempts:ratio_rate5m': REGISTER_FAILURES / REGISTERS,
  'farm:sipfleet_ineffective_registration_attempts_adjusted:ratio_rate5m':
    REGISTER_FAILURES / (REGISTERS - REGISTER.accepted),
  'farm:sipfleet_call_setup_errors:ratio_rate1h': INEFFECTIVE / (INVITES - refused(302) - CHALLENGES),
  'farm:sipfleet_registration_errors:ratio_rate1h': REGISTER_FAILURES / (REGISTERS - REGISTER.accepted),
};
/** Prometheus works with rates: what they have in common leaves rounding errors. */
const rounded = (ratios: [string, number][]) => Object.fromEntries(ratios.map(([name, n]) => [name, n.toFixed(9)]));

let prometheus: Prometheus;
const canRun = canUseLoopback && !missingPeers().includes('prometheus');
beforeAll(async () => {
  if (canRun) prometheus = await Prometheus.start();
});
afterAll(() => prometheus?.close());
const targets: string[] = [];

// Side by side: each waits for Timer B most of its time.
describe.skipIf(!canRun).concurrent.each([
  { transactions: 'stateful', workers: 1 },
  { transactions: 'stateful', workers: 2 },
  { transactions: 'stateless', workers: 2 },
] as const)('RFC 6076 with $transactions transactions, $workers workers', ({ transactions, workers }) => {
  let pbxs: ScriptedUas[];
  let agent: Agent;
  let service: { address: string; port: number };
  // One Prometheus watches them all.
  const farm = `${transactions}${workers}`;

  beforeEach(async () => {
    pbxs = [await startPbx(), await startPbx()];
    service = { address: AGENT, port: await freePort(AGENT) };
    agent = await Agent.start({
      host: loopback(AGENT),
      workers,
      farm: {
        kind: 'Farm',
        name: farm,
        sites: ['milan'],
        transactions,
        listeners: [{ transport: 'udp', ...service }],
        backends: pbxs.map((pbx, i) => ({ name: `pbx${i + 1}`, address: '127.0.0.1', port: pbx.port })),
        checks: [],
      },
    });
  });
  afterEach(async () => {
    await agent.close();
    for (const pbx of pbxs) pbx.close();
  });

  /** Calls or registrations of `user` towards `callee`, all of which must go as the scenario says. */
  async function play(scenario: string, calls: number, callee = '', user = 'bonnie'): Promise<void> {
    const sipp = new Sipp({
      host: loopback(PHONES),
      port: await freePort(PHONES),
      target: target(service.address, service.port),
      domain: 'example.test',
      scenario,
      calls,
      rate: 20,
      rows: [row(user, 'secret', callee)],
    });
    expect(await sipp.finished()).toMatchObject({ successful: calls, failed: 0 });
  }

  test('every counter of a known mix of traffic is what can be worked out by hand', { timeout: 120_000 }, async ({
    expect,
  }) => {
    targets.push(agent.admin);
    await prometheus.watch('agent', ...targets);
    const counted = async (name: string): Promise<number | undefined> =>
      (await prometheus.now(`sum(sipfleet_${name}{farm="${farm}"})`))[0]?.value;
    // It must have seen every counter at its start, or it cannot know by how much they rose.
    await expect.poll(() => counted('session_requests_total'), { timeout: 60_000 }).toBe(0);

    const phone = await Client.start(PHONES);
    const at = { address: PHONES, port: 5060 };
    // Timers B and F of two attempts: the longest part of the test, so they begin first. What is sent twice counts once.
    for (const _ of ['first', 'retransmission']) {
      for (let i = 0; i < CALLS.silent; i++) phone.send(request('INVITE', 'silent', `silent${i}`, at), service);
      phone.send(request('REGISTER', 'silent', 'silent-register', at), service);
    }
    await play(callScenario({ challenged: false, holdMs: HOLD_MS }), CALLS.answered, 'clyde');
    await play(callScenario({ challenged: true, holdMs: HOLD_MS }), CALLS.challenged407, 'challenged407');
    await play(callScenario({ challenged: 401, holdMs: HOLD_MS }), CALLS.challenged401, 'challenged401');
    await play(cancellingCaller('487 Request Terminated'), CALLS.cancelled, 'ringing');
    for (const [status, calls] of Object.entries(REFUSED)) await play(refusedScenario(Number(status)), calls, status);
    await play(registerScenario, REGISTER.accepted, '', 'blanche');
    for (const [status, calls] of Object.entries(REFUSED_REGISTER))
      await play(refusedRegisterScenario(Number(status)), calls, '', status);
    for (let i = 0; i < CALLS.held; i++) await phone.ask('INVITE', 'clyde', service);

    const of = (name: string, ...labels: string[]) => agent.metric(`sipfleet_${name}`, `farm="${farm}"`, ...labels);
    const client = 'origin="client"';
    const silence = transactions === 'stateful' ? '408' : 'none';
    await expect.poll(() => of('session_requests_total', client), { timeout: 60_000, interval: 1000 }).toBe(INVITES);
    await expect.poll(() => of('registration_requests_total'), { timeout: 60_000, interval: 1000 }).toBe(REGISTERS);
    const found = {
      challenges: await of('session_challenges_total', client),
      redirects: await of('session_redirects_total', client),
      established: await of('sessions_established_total', client),
      effective: await of('session_effective_total', client),
      ineffective: await of('session_ineffective_total', client),
      completed: await of('sessions_completed_total', client),
      expired: await of('sessions_expired_total'),
      active: await of('active_sessions'),
      fromBackends: await of('session_requests_total', 'origin="backend"'),
    };
    expect(found).toEqual({
      challenges: CHALLENGES,
      redirects: refused(302),
      established: OK,
      effective: EFFECTIVE,
      ineffective: INEFFECTIVE,
      completed: COMPLETED,
      expired: 0,
      active: CALLS.held,
      fromBackends: 0,
    });
    const results: Record<string, number> = {
      ...REFUSED,
      200: OK,
      401: CALLS.challenged401,
      407: CALLS.challenged407,
      487: CALLS.cancelled,
    };
    results[silence] = (results[silence] ?? 0) + CALLS.silent;
    for (const [status, calls] of Object.entries(results))
      expect([status, await of('session_results_total', `code="${status}"`, client)]).toEqual([status, calls]);

    const registrations = {
      challenges: await of('registration_challenges_total'),
      successes: await of('registration_successes_total'),
      failures: await of('registration_failures_total'),
    };
    expect(registrations).toEqual({
      challenges: REGISTER.accepted,
      successes: REGISTER.accepted,
      failures: REGISTER_FAILURES,
    });
    // All of them from the same phone's Contact.
    expect(await of('active_registrations')).toBe(1);

    // RRD, SRD, SDD, SDT: how many, and for the one that the phones decide, how long at least.
    expect(await of('registration_request_delay_seconds_count')).toBe(REGISTER.accepted);
    expect(await of('session_request_delay_seconds_count', 'result="success"')).toBe(OK);
    // A redirect is neither. In stateful mode the 408 is a failure response that the phone gets; without any response there is no delay.
    const failures = sum(...Object.values(REFUSED), -refused(302), CALLS.cancelled);
    const failed = failures + (transactions === 'stateful' ? CALLS.silent : 0);
    expect(await of('session_request_delay_seconds_count', 'result="failure"')).toBe(failed);
    expect(await of('session_disconnect_delay_seconds_count')).toBe(COMPLETED);
    expect(await of('session_duration_seconds_count', client)).toBe(COMPLETED);
    expect(await of('session_duration_seconds_sum', client)).toBeGreaterThan((COMPLETED * (HOLD_MS - 50)) / 1000);
    expect(await agent.metric('sipfleet_events_lost_total')).toBe(0);
    // Silence is tried elsewhere, as is 503, which is configured by default.
    const failovers = transactions === 'stateful' ? refused(503) + CALLS.silent + REGISTER.silent : 0;
    expect(await agent.metric('sipfleet_failovers_total')).toBe(failovers);

    // What a real Prometheus makes of it by the recording rules, once it has seen the last of it.
    const ratios = async () =>
      rounded(
        await Promise.all(
          Object.keys(RATIOS).map(async (name): Promise<[string, number]> => {
            const series = await prometheus.now(`${name}{farm="${farm}"}`);
            expect(series.map(({ metric }) => metric.origin ?? 'client')).toEqual(['client']);
            return [name, series[0]?.value ?? Number.NaN];
          }),
        ),
      );
    await expect.poll(ratios, { timeout: 30_000, interval: 500 }).toEqual(rounded(Object.entries(RATIOS)));
    phone.close();
  });
});
