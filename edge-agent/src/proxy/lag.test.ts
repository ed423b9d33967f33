import type { FarmInput } from '@sipfleet/contract';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Plan } from '../plan.ts';
import { agent, answer, request } from './proxy.fixture.ts';

/** Registrations lag: a model of phones that register once per period at PBXs without a shared location, and are called throughout. */

const PERIOD = 120;
const START = 1_700_000_000;
const PHONE = 'udp 198.51.100.7:5060';
const CALLER = 'udp 198.51.100.8:5060';
const ALL = ['a', 'b', 'c', 'd', 'e'].map((name, i) => ({ name, address: `10.0.0.${11 + i}` }));
type Backends = FarmInput['backends'];

interface Event {
  /** Second, counted from START. */
  at: number;
  backends?: Backends;
  down?: string;
  up?: string;
  /** The PBX comes back without what it knew. */
  forgets?: boolean;
  /** The agent starts anew, under this farm. */
  restart?: boolean;
}

/** Plays the events while phones register and calls come in. Returns what became of the calls. */
function play(before: Backends, events: Event[], options: { users: number; until: number; lag?: boolean }) {
  const { users, until, lag = true } = options;
  const farm = (backends: Backends) => ({
    backends,
    transactions: 'stateful' as const,
    registration: { maxExpires: '2m' },
  });
  const start = (backends: Backends, after?: { now: number; plan?: Plan }) => {
    const a = agent(farm(backends), { transactions: 20_000, ...(after && { after }) });
    if (!lag) a.plan.farms[0]!.lag.seconds = 0;
    return a;
  };
  let backends = before;
  let a = start(backends);
  const down = new Set<string>();
  const bindings = Array.from({ length: users }, () => new Map<string, number>());
  const result = { calls: 0, atOnce: 0, misplaced: 0, dead: 0, unreachable: 0 };
  const nameAt = (address: number) => ALL[(address & 255) - 11]!.name;
  const last = (method: string, from: number) => a.sent.slice(from).findLast((s) => s.text.startsWith(`${method} `));

  const apply = (event: Event) => {
    if (event.backends) {
      const states = new Uint8Array(a.plan.farms[0]!.states);
      const was = new Map(backends.map((b, i) => [b.name, states[i]!]));
      backends = event.backends;
      const now = a.clock.seconds;
      a = start(backends, lag ? { now, ...(!event.restart && { plan: a.plan }) } : undefined);
      const next = new Uint8Array(a.plan.farms[0]!.states);
      for (const [i, b] of backends.entries()) next[i] = was.get(b.name) ?? 0;
    }
    const place = (name: string) => backends.findIndex((b) => b.name === name);
    if (event.down) {
      down.add(event.down);
      a.setState(place(event.down), 'down');
    }
    if (event.up) {
      down.delete(event.up);
      a.setState(place(event.up), 'up');
      if (event.forgets) for (const b of bindings) b.delete(event.up);
    }
  };
  const register = (user: number, t: number) => {
    const at = a.sent.length;
    const to = `<sip:user${user}@example.com>`;
    const more = ['Contact: <sip:x@198.51.100.7>'];
    a.receive(request({ method: 'REGISTER', uri: 'sip:example.com', to, callId: `r${user}-${t}`, more }), PHONE);
    const name = nameAt(last('REGISTER', at)!.to.ip3);
    if (down.has(name)) result.dead++;
    else bindings[user]!.set(name, t + PERIOD);
  };
  const call = (user: number, t: number) => {
    result.calls++;
    const knows = (name: string) => (bindings[user]!.get(name) ?? 0) > t;
    if (!backends.some((b) => knows(b.name) && !down.has(b.name))) {
      result.unreachable++;
      return;
    }
    const from = a.sent.length;
    const via = `SIP/2.0/UDP 198.51.100.8:5060;branch=z9hG4bK${user}-${t}`;
    a.receive(request({ uri: `sip:user${user}@example.com`, callId: `i${user}-${t}`, via }), CALLER);
    const asked = new Set<string>();
    for (;;) {
      const out = last('INVITE', from)!;
      const name = nameAt(out.to.ip3);
      if (down.has(name)) result.dead++;
      if (knows(name)) {
        if (asked.size === 0) result.atOnce++;
        a.receive(answer(out.text), `udp 10.0.0.${out.to.ip3 & 255}:5060`);
        return;
      }
      if (asked.has(name)) break;
      asked.add(name);
      a.receive(answer(out.text, '404 Not Found'), `udp 10.0.0.${out.to.ip3 & 255}:5060`);
    }
    result.misplaced++;
  };

  for (let t = 0; t < until; t++) {
    a.clock.seconds = START + t;
    for (const event of events) if (event.at === t) apply(event);
    for (let user = 0; user < users; user++) {
      // Each phone at a moment of its own, and called at others.
      if (t % PERIOD === (user * 37) % PERIOD) register(user, t);
      if (t > PERIOD && (t + user * 13) % 11 === 0) call(user, t);
    }
    a.sent.length = 0;
  }
  return result;
}

const weights = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 5, maxLength: 5 });
const farmOf = (count: number, w: number[]): Backends => ALL.slice(0, count).map((b, i) => ({ ...b, weight: w[i]! }));
const change = fc.constantFrom('add', 'drain', 'undrain', 'weight', 'outage', 'removal of a drained one');

/** One change of the order after a period of calm, as a pair of farm and events. */
function scene(kind: string, count: number, w: number[], outage: number, forgets: boolean): [Backends, Event[]] {
  const calm = 2 * PERIOD;
  const farm = farmOf(count, w);
  const drained = (b: Backends[number], i: number) => (i === 0 ? { ...b, drain: true } : b);
  switch (kind) {
    case 'add':
      return [farm, [{ at: calm, backends: farmOf(count + 1, w) }]];
    case 'drain':
      return [farm, [{ at: calm, backends: farm.map(drained) }]];
    case 'undrain':
      return [farm.map(drained), [{ at: calm, backends: farm }]];
    case 'weight':
      return [farm, [{ at: calm, backends: farm.map((b, i) => (i === 1 ? { ...b, weight: 9 } : b)) }]];
    case 'outage':
      return [
        farm,
        [
          { at: calm, down: 'a' },
          { at: calm + outage, up: 'a', forgets },
        ],
      ];
    default:
      return [
        farm,
        [
          { at: calm, backends: farm.map(drained) },
          { at: calm + PERIOD, backends: farm.slice(1) },
        ],
      ];
  }
}

describe('a user who is registered at a PBX that lives is found there', { timeout: 120_000 }, () => {
  test('through any single change of the order, and no dead PBX is ever asked', () => {
    fc.assert(
      fc.property(
        change,
        fc.integer({ min: 2, max: 4 }),
        weights,
        fc.integer({ min: 1, max: 2 * PERIOD }),
        fc.boolean(),
        (kind, count, w, outage, forgets) => {
          const [farm, events] = scene(kind, count, w, outage, forgets);
          const result = play(farm, events, { users: 12, until: 6 * PERIOD });
          expect(result).toMatchObject({ misplaced: 0, dead: 0 });
          expect(result.calls).toBeGreaterThan(500);
        },
      ),
      { numRuns: 24 },
    );
  });

  test.each(['add', 'drain', 'undrain', 'weight', 'outage'])('without lag calls get lost: %s', (kind) => {
    const [farm, events] = scene(kind, 2, [1, 1, 1, 1, 1], PERIOD, false);
    const options = { users: 40, until: 4 * PERIOD };
    expect(play(farm, events, { ...options, lag: false }).misplaced).toBeGreaterThan(10);
    expect(play(farm, events, options)).toMatchObject({ misplaced: 0, dead: 0 });
  });

  test('two changes within one period: a drain, and a PBX more', () => {
    const farm = farmOf(3, [1, 1, 1]);
    const drained = farm.map((b, i) => (i === 0 ? { ...b, drain: true } : b));
    const events = [
      { at: 2 * PERIOD, backends: drained },
      { at: 2 * PERIOD + 30, backends: [...drained, ALL[3]!] },
    ];
    expect(play(farm, events, { users: 40, until: 5 * PERIOD })).toMatchObject({ misplaced: 0, dead: 0 });
  });

  test.each(['add', 'drain', 'undrain', 'weight'])(
    'an agent that starts anew with it finds everybody, too: %s',
    (kind) => {
      const [farm, [event]] = scene(kind, 2, [1, 1, 1, 1, 1], PERIOD, false);
      const result = play(farm, [{ ...event!, restart: true }], { users: 40, until: 4 * PERIOD });
      expect(result).toMatchObject({ misplaced: 0, dead: 0 });
    },
  );

  test('of a brief outage nobody notices: its users are looked for at home first', () => {
    const [farm, events] = scene('outage', 2, [1, 1], 5, false);
    const result = play(farm, events, { users: 40, until: 4 * PERIOD });
    expect(result.misplaced).toBe(0);
    expect(result.atOnce / (result.calls - result.unreachable)).toBeGreaterThan(0.95);
  });

  test('once registrations cannot be anywhere else, a 404 is passed on at once', () => {
    const farm = farmOf(2, [1, 1]);
    const a = agent({ backends: farm, transactions: 'stateful' }, { transactions: 100 });
    const out = a.receive(request(), CALLER)!;
    a.receive(answer(out.text, '404 Not Found'), `udp 10.0.0.${out.to.ip3 & 255}:5060`);
    expect(a.sent.filter((s) => s.text.startsWith('INVITE'))).toHaveLength(1);
    expect(a.sent.at(-1)!.text).toMatch(/^SIP\/2.0 404/);
  });
});

test('agents with the same snapshots and the same view of the backends choose alike, however their lists are ordered', {
  timeout: 120_000,
}, () => {
  const backend = fc.record({ weight: fc.integer({ min: 1, max: 4 }), drain: fc.boolean(), down: fc.boolean() });
  const stage = fc.array(backend, { minLength: 5, maxLength: 5 });
  fc.assert(
    fc.property(fc.array(stage, { minLength: 1, maxLength: 3 }), fc.integer({ min: 0, max: 200 }), (stages, pause) => {
      const run = (number: number, order: (b: Backends) => Backends) => {
        let a: ReturnType<typeof agent> | undefined;
        for (const [n, stage] of stages.entries()) {
          const backends = order(ALL.map((b, i) => ({ ...b, weight: stage[i]!.weight, drain: stage[i]!.drain })));
          const now = START + n * pause;
          const after = { now, ...(a && { plan: a.plan }) };
          a = agent({ backends, registration: { maxExpires: '2m' } }, { number, worker: number, workers: 4, after });
          for (const [i, b] of backends.entries())
            a.setState(i, stage[ALL.findIndex(({ name }) => name === b.name)]!.down ? 'down' : 'up');
        }
        a!.clock.seconds += pause >> 1;
        return Array.from({ length: 100 }, (_, i) => {
          const method = i % 3 === 0 ? 'REGISTER' : 'INVITE';
          const to = `<sip:user${i}@example.com>`;
          const uri = method === 'INVITE' ? `sip:user${i}@example.com` : 'sip:example.com';
          const out = a!.receive(request({ method, uri, to, callId: `c${i}` }), CALLER)!;
          return out.text.startsWith('SIP/2.0 503') ? 'nobody' : out.to.ip3 & 255;
        });
      };
      const one = run(1, (b) => b);
      expect(run(2, (b) => b.toReversed())).toEqual(one);
      const last = stages.at(-1)!;
      for (const at of one) if (at !== 'nobody') expect(last[at - 11]!.down).toBe(false);
    }),
    { numRuns: 8 },
  );
});
