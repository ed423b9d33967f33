import { type Farm, type FarmInput, parseResource } from '@sipfleet/contract';
import { expect, test } from 'vitest';
import { compilePlan } from './compile.ts';
import { Decisions } from './decisions.ts';
import { type Plan, STATE } from './plan.ts';
import { wordsOf } from './sip/host.ts';
import type { TapeRecord } from './telemetry/tape.ts';

const AT = Date.UTC(2026, 0, 1);
const FARM: FarmInput = {
  kind: 'Farm',
  name: 'pbx',
  sites: ['milan'],
  listeners: [{ transport: 'udp', address: '192.0.2.10', port: 5060 }],
  backends: [
    { name: 'pbx1', address: '10.0.0.11' },
    { name: 'pbx2', address: '10.0.0.12' },
  ],
};
const INVITE = new TextEncoder().encode(
  [
    'INVITE sip:clyde@example.com SIP/2.0',
    'Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKa',
    'From: <sip:bonnie@example.com>;tag=1',
    'To: <sip:clyde@example.com>',
    'Call-ID: c',
    'CSeq: 1 INVITE',
    '\r\n',
  ].join('\r\n'),
);

function planOf(): Plan {
  const spec = parseResource(FARM) as Farm;
  const farms = [{ spec, revision: 1, tokenKeys: [{ id: 7, key: '000102030405060708090a0b0c0d0e0f' }] }];
  const snapshot = { format: 1 as const, site: 'milan', generation: 1, farms };
  return compilePlan(snapshot, 'etag', { number: 1, address: '192.0.2.10' }, new Map());
}

function record(from: string, plan = 3): TapeRecord {
  const [ip0, ip1, ip2, ip3] = wordsOf(from) as unknown as [number, number, number, number];
  return { plan, listener: 0, transport: 0, ip0, ip1, ip2, ip3, port: 5060 } as TapeRecord;
}

test('a decision is told by the states that backends had when the request came, not by those of now', () => {
  const decisions = new Decisions();
  const plan = planOf();
  decisions.use(plan, 3);
  const [states] = plan.farms.map((farm) => new Uint8Array(farm.states));
  const becomes = (backend: 'pbx1' | 'pbx2', state: 'up' | 'down', at: number): void => {
    states![backend === 'pbx1' ? 0 : 1] = STATE[state];
    decisions.changed('pbx', backend, state, at);
  };
  becomes('pbx1', 'down', AT + 1000);
  becomes('pbx1', 'up', AT + 2000);
  becomes('pbx2', 'down', AT + 3000);
  const excluded = (ms: number): unknown => decisions.decide(record('198.51.100.7'), INVITE, AT + ms)?.excluded;
  expect([500, 1500, 2500, 3500].map(excluded)).toEqual([[], ['pbx1: it is down'], [], ['pbx2: it is down']]);
  // Asking changes nothing that data threads read.
  expect([...states!]).toEqual([STATE.up, STATE.down]);
});

test('the key, the order of candidates, and that a backend is not asked for its own call', () => {
  const decisions = new Decisions();
  decisions.use(planOf(), 3);
  const client = decisions.decide(record('198.51.100.7'), INVITE, AT)!;
  expect(client).toMatchObject({ strategy: 'hash', key: 'user', bucket: expect.any(Number), excluded: [] });
  expect(client.candidates.toSorted()).toEqual(['pbx1', 'pbx2']);
  expect(JSON.stringify(client)).not.toContain('clyde');
  const backend = decisions.decide(record('10.0.0.11'), INVITE, AT)!;
  expect(backend.excluded).toEqual(['pbx1: it sent the request itself']);
});

test('of an unknown plan, and of what is no request, nothing is said', () => {
  const decisions = new Decisions();
  decisions.use(planOf(), 3);
  expect(decisions.decide(record('198.51.100.7', 4), INVITE, AT)).toBeUndefined();
  expect(decisions.decide(record('198.51.100.7'), new TextEncoder().encode('INVITE'), AT)).toBeUndefined();
});
