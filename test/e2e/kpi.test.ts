import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SipMessage } from '../../edge-agent/src/sip/text-message.ts';
import { Agent } from '../interop/agent.ts';
import { callScenario, refusedRegisterScenario, refusedScenario, registerScenario } from '../interop/scenarios.ts';
import { row, Sipp, target } from '../interop/sipp.ts';
import { loopback } from '../netns/host.ts';
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
    if (user === 'challenged' && !authenticated(r))
      return pbx.reply(r, from, '407 Proxy Authentication Required', { headers: [['Proxy-Authenticate', CHALLENGE]] });
    if (/^\d+$/.test(user)) return pbx.reply(r, from, `${user} No`);
    const headers = r.list('record-route').map((route): [string, string] => ['Record-Route', route]);
    pbx.reply(r, from, '100 Trying');
    pbx.reply(r, from, '180 Ringing', { headers });
    pbx.reply(r, from, '200 OK', { sdp: 4000, headers });
  };
  const register: Script = (r, from) => {
    const user = userOf(r);
    if (user === '403') return pbx.reply(r, from, '403 Forbidden');
    if (!authenticated(r))
      return pbx.reply(r, from, '401 Unauthorized', { headers: [['WWW-Authenticate', CHALLENGE]] });
    pbx.reply(r, from, '200 OK', { headers: [['Contact', `${r.get('contact')};expires=600`]] });
  };
  const pbx = await ScriptedUas.start({ INVITE: invite, REGISTER: register });
  return pbx;
}

// Side by side: each waits for Timer B most of its time.
describe.skipIf(!canUseLoopback).concurrent.each([
  { transactions: 'stateful', workers: 1 },
  { transactions: 'stateful', workers: 2 },
  { transactions: 'stateless', workers: 2 },
] as const)('RFC 6076 with $transactions transactions, $workers workers', ({ transactions, workers }) => {
  let pbxs: ScriptedUas[];
  let agent: Agent;
  let service: { address: string; port: number };

  beforeEach(async () => {
    pbxs = [await startPbx(), await startPbx()];
    service = { address: AGENT, port: await freePort(AGENT) };
    agent = await Agent.start({
      host: loopback(AGENT),
      workers,
      farm: {
        kind: 'Farm',
        name: 'pbx',
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

  test('every counter of a known mix of traffic is what can be worked out by hand', { timeout: 120_000 }, async () => {
    const phone = await Client.start(PHONES);
    // Timers B of two attempts: the longest part of the test, so they begin first.
    for (let i = 0; i < 3; i++)
      phone.send(request('INVITE', 'silent', `silent${i}`, { address: PHONES, port: 5060 }), service);
    await play(callScenario({ challenged: false, holdMs: HOLD_MS }), 20, 'clyde');
    await play(callScenario({ challenged: true, holdMs: HOLD_MS }), 4, 'challenged');
    for (const [status, calls] of [
      [486, 7],
      [404, 2],
      [503, 5],
      [500, 2],
      [603, 1],
    ] as const)
      await play(refusedScenario(status), calls, String(status));
    await play(registerScenario, 6, '', 'blanche');
    await play(refusedRegisterScenario(403), 2, '', '403');

    const of = (name: string, ...labels: string[]) => agent.metric(`sipfleet_${name}`, 'farm="pbx"', ...labels);
    const client = 'origin="client"';
    const total = 20 + 8 + 7 + 2 + 5 + 2 + 1 + 3;
    await expect.poll(() => of('session_requests_total', client), { timeout: 60_000, interval: 1000 }).toBe(total);
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
      challenges: 4,
      redirects: 0,
      established: 24,
      effective: 24 + 7 + 1,
      // 503, 500, and those that nobody answered.
      ineffective: 5 + 2 + 3,
      completed: 24,
      expired: 0,
      active: 0,
      fromBackends: 0,
    });
    const code = (status: string) => of('session_results_total', `code="${status}"`, client);
    const silence = transactions === 'stateful' ? '408' : 'none';
    for (const [status, calls] of Object.entries({
      200: 24,
      407: 4,
      486: 7,
      404: 2,
      503: 5,
      500: 2,
      603: 1,
      [silence]: 3,
    }))
      expect([status, await code(status)]).toEqual([status, calls]);

    const registrations = {
      requests: await of('registration_requests_total'),
      challenges: await of('registration_challenges_total'),
      successes: await of('registration_successes_total'),
      failures: await of('registration_failures_total'),
    };
    expect(registrations).toEqual({ requests: 6 * 2 + 2, challenges: 6, successes: 6, failures: 2 });
    // Six registrations, each from the same phone's Contact.
    expect(await of('active_registrations')).toBe(1);

    // RRD, SRD, SDD, SDT: how many, and for the one that the phones decide, how long at least.
    expect(await of('registration_request_delay_seconds_count')).toBe(6);
    expect(await of('session_request_delay_seconds_count', 'result="success"')).toBe(24);
    // In stateful mode the 408 is a failure response that the phone gets; without any response there is no delay.
    const answered = 7 + 2 + 5 + 2 + 1 + (transactions === 'stateful' ? 3 : 0);
    expect(await of('session_request_delay_seconds_count', 'result="failure"')).toBe(answered);
    expect(await of('session_disconnect_delay_seconds_count')).toBe(24);
    expect(await of('session_duration_seconds_count', client)).toBe(24);
    expect(await of('session_duration_seconds_sum', client)).toBeGreaterThan((24 * (HOLD_MS - 50)) / 1000);
    expect(await agent.metric('sipfleet_events_lost_total')).toBe(0);
    // Silence is tried elsewhere, as is 503, which is configured by default.
    expect(await agent.metric('sipfleet_failovers_total')).toBe(transactions === 'stateful' ? 5 + 3 : 0);
    phone.close();
  });
});
