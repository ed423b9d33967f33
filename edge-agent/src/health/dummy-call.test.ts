import { Check } from '@sipfleet/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Pbx, startPbx } from '../../../test/demo-pbx/pbx.ts';
import { PHONES } from '../../../test/demo-pbx/users.ts';
import type { Secrets } from '../ports.ts';
import type { ProbeOutcome } from './probe.ts';
import { createProber } from './probers.ts';

const [USER, PASSWORD] = Object.entries(PHONES)[0] as [string, string];
const SECRETS: Secrets = new Map([
  ['right', { username: USER, password: PASSWORD }],
  ['wrong', { username: USER, password: 'not this' }],
]);
let pbx: Pbx;
beforeEach(async () => {
  pbx = await startPbx({ host: '127.0.0.1', port: 0 });
});
afterEach(() => pbx.close());

function probe(check: object, localAddress = '127.0.0.1'): Promise<ProbeOutcome> {
  const spec = Check.parse({ name: 'c', timeout: '8s', ...check });
  const target = { address: '127.0.0.1', port: pbx.port, transport: 'udp' as const, localAddress, timeoutMs: 8000 };
  return createProber(() => SECRETS)({ ...target, check: spec }, new AbortController().signal);
}

test('register: the Secret registers at the backend, and is taken back', async () => {
  const outcome = await probe({ type: 'register', credentials: 'right' });
  expect(outcome).toMatchObject({ result: 'success', phases: { register: { ok: true }, unregister: { ok: true } } });
});

test('register: a password that the PBX refuses is a failure of that phase, and stands in no evidence', async () => {
  const outcome = await probe({ type: 'register', credentials: 'wrong' });
  expect(outcome).toMatchObject({ result: 'failure', phase: 'register' });
  expect(JSON.stringify(outcome)).not.toContain('not this');
});

test('register: a Secret that is not there says nothing about the backend', async () => {
  const evidence = 'the Secret none with username and password is not there';
  expect(await probe({ type: 'register', credentials: 'none' })).toEqual({ result: 'inconclusive', evidence });
});

test('call: the article’s command with HOST, every phase to the BYE', async () => {
  const outcome = await probe({
    type: 'call',
    command: 'check_sip -T 9 --expect-audio sip:check@127.0.0.1 sip:echo@HOST',
  });
  expect(outcome).toMatchObject({
    result: 'success',
    phases: { invite: { ok: true }, answer: { ok: true }, media: { ok: true }, bye: { ok: true } },
  });
});

test('call: a callee that nobody knows fails, unless its code is listed', async () => {
  const call = { type: 'call', from: 'sip:check@HOST', to: 'sip:nobody@HOST' };
  const outcome = await probe(call);
  expect(outcome.result).toBe('failure');
  const code = Number(/\b(4\d\d)\b/.exec(outcome.evidence)?.[1]);
  expect((await probe({ ...call, codes: [code] })).result).toBe('success');
  expect((await probe({ ...call, codes: ['4xx'] })).result).toBe('success');
});

test('call: a standby that does not hold the listener’s address calls from what it has', async () => {
  const call = { type: 'call', from: 'sip:check@HOST', to: 'sip:echo@HOST' };
  expect((await probe(call, '192.0.2.77')).result).toBe('success');
});
