import { expect, test } from 'vitest';
import { Overload } from './overload.ts';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

const WINDOW_MS = 100;

/** Lets windows pass in which every turn, or none, left datagrams waiting; the share after each. */
function windows(overload: Overload, count: number, left: boolean, from = 0): number[] {
  return Array.from({ length: count }, (_, i) => {
    for (let turn = 0; turn < 10; turn++)
      overload[left ? 'saturated' : 'drained'](from + i * WINDOW_MS + (turn * WINDOW_MS) / 10);
    return overload.share;
  });
}

test('a burst of one window refuses nothing; while it is behind the share rises to all, then not even that is said', () => {
  const overload = new Overload();
  windows(overload, 1, true);
  expect(windows(overload, 1, false, 100)).toEqual([0]);
  const shares = windows(overload, 20, true, 1000);
  expect(shares.filter((share, i) => i > 0 && share < shares[i - 1]!)).toEqual([]);
  expect([shares[1], shares.at(-1)]).toEqual([0, 1]);
  expect(overload.hopeless).toBe(true);
  const after = windows(overload, 80, false, 3100);
  expect(overload.hopeless).toBe(false);
  expect(after.filter((share, i) => i > 0 && share > after[i - 1]!)).toEqual([]);
  expect(after.at(-1)).toBe(0);
});

test('an event loop that stands still counts like a socket that is not emptied; one late timer does not', () => {
  const overload = new Overload();
  for (const [now, late] of [
    [250, 10],
    [900, 400],
    [1150, 0],
    [1400, 0],
  ] as const)
    overload.tick(now, late);
  expect(overload.share).toBe(0);
  for (const now of [2100, 2800, 3500]) overload.tick(now, 500);
  expect(overload.share).toBeGreaterThan(0);
});

test('the share is what is refused; one call shares one fate for seconds, and is not shut out for good', () => {
  const overload = new Overload();
  overload.share = 0.4;
  const admitted = (seconds: number) => Array.from({ length: 10_000 }, (_, i) => overload.admits(i * 7919, seconds));
  const now = admitted(1_000_000);
  expect(now.filter(Boolean).length / now.length).toBeCloseTo(0.6, 1);
  expect(admitted(1_000_001)).toEqual(now);
  const later = admitted(1_000_100);
  expect(later).not.toEqual(now);
});

test('in overload: new work of clients gets 503 with Retry-After; what stands, what a PBX sends and retransmissions go on', () => {
  const a = agent({}, { transactions: 100 });
  const phone = 'udp 198.51.100.7:5060';
  const out = a.receive(request(), phone)!;
  const pbx = `udp 10.0.0.${out.to.ip3 & 255}:5060`;
  a.overload.share = 1;
  const refused = a.receive(request({ callId: 'new' }), phone)!;
  expect([refused.text.split('\r\n')[0], header(refused.text, 'Retry-After')]).toEqual([
    'SIP/2.0 503 Service Unavailable',
    ['5'],
  ]);
  expect(a.counts['refused overload']).toBe(1);
  expect(a.receive(request(), phone)!.text).toMatch(/^SIP\/2.0 100 /);
  const ok = a.receive(answer(out.text), pbx)!;
  expect(ok.text).toMatch(/^SIP\/2.0 200 /);
  const route = `Route: ${header(ok.text, 'Record-Route')[0]}`;
  const to = '<sip:clyde@example.com>;tag=t1';
  for (const method of ['ACK', 'INFO', 'BYE'])
    expect(a.receive(request({ method, cseq: 2, to, more: [route] }), phone)!.to).toEqual(out.to);
  const fromPbx = request({ callId: 'p', via: 'SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKp', from: '<sip:x@y>;tag=p' });
  expect(a.receive(fromPbx, 'udp 10.0.0.11:5060')!.to).toMatchObject(endpoint('udp 10.0.0.12:5060'));
  // When even that costs too much, new work is not answered any more.
  a.overload.hopeless = true;
  expect(a.receive(request({ callId: 'newer' }), phone)).toBeUndefined();
  expect(a.drops).toEqual(['overload']);
});

/** What a message costs, in thousandths of a millisecond, and what a thread and its socket can hold: roughly one core with the FFI datapath. */
const COST = { call: 30, inDialog: 30, refusal: 8, drop: 3 };
const TURN = 512;
const SOCKET = 4000;

/** A second of calls at twice what one thread can do, one message in ten of them within a dialog. What became of those. */
function simulate(overload: Overload | undefined) {
  const queue: boolean[] = [];
  let now = 0;
  let arrived = 0;
  let lost = 0;
  let waited = 0;
  const perMs = (2 * 1000) / COST.call;
  const arrive = () => {
    for (; arrived < now * perMs; arrived++) {
      const inDialog = arrived % 10 === 0;
      if (queue.length < SOCKET) queue.push(inDialog);
      else if (inDialog) lost++;
    }
  };
  let measuring = 0;
  while (now < 5000) {
    // The first second is for the control to find its share.
    if (now > 1500 && measuring++ === 0) lost = 0;
    const most = Math.min(TURN, queue.length);
    let spent = 0;
    for (let i = 0; i < most; i++) {
      const inDialog = queue.shift()!;
      if (inDialog) spent += COST.inDialog;
      else if (overload === undefined || overload.admits(arrived * 31 + i, Math.floor(now / 1000))) spent += COST.call;
      else spent += overload.hopeless ? COST.drop : COST.refusal;
    }
    now += Math.max(spent / 1000, 0.2);
    arrive();
    if (most === TURN) overload?.saturated(now);
    else overload?.drained(now);
    waited = Math.max(waited, now > 1500 ? queue.length : 0);
  }
  return { lost, waited };
}

test('at twice the capacity the calls that stand lose nothing, where without control their messages drown', () => {
  expect(simulate(undefined)).toMatchObject({ waited: SOCKET });
  expect(simulate(undefined).lost).toBeGreaterThan(1000);
  const controlled = simulate(new Overload());
  expect(controlled.lost).toBe(0);
  expect(controlled.waited).toBeLessThan(SOCKET);
});
