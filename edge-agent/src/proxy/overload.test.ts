import { expect, test } from 'vitest';
import { type CallEvents, type MessageTape, NO_EVENTS } from './context.ts';
import { Overload } from './overload.ts';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

const WINDOW_MS = 100;

/** Lets windows pass in which the shortest wait in the socket was so long, in milliseconds; the share after each. */
function windows(overload: Overload, count: number, wait: number, from = 0, dropped = 0): number[] {
  return Array.from({ length: count }, (_, i) => {
    for (let batch = 0; batch < 10; batch++)
      overload.waited(from + i * WINDOW_MS + (batch * WINDOW_MS) / 10, batch === 4 ? wait : wait + 60, dropped);
    return overload.share;
  });
}
const fallsOnly = (shares: number[]) => shares.every((share, i) => i === 0 || share <= shares[i - 1]!);
const risesOnly = (shares: number[]) => shares.every((share, i) => i === 0 || share >= shares[i - 1]!);

test('a burst refuses nothing, however long its messages wait, as long as the queue empties; one window behind neither', () => {
  const overload = new Overload();
  expect(new Set(windows(overload, 20, 15))).toEqual(new Set([0]));
  windows(overload, 1, 180, 2000);
  expect(windows(overload, 5, 0, 2100)).toEqual([0, 0, 0, 0, 0]);
});

test('while messages wait all the time the share rises to all, then not even that is said; and falls when they do not', () => {
  const overload = new Overload();
  const shares = windows(overload, 20, 120);
  expect(risesOnly(shares)).toBe(true);
  expect([shares[1], shares.at(-1)]).toEqual([0, 1]);
  expect(overload.hopeless).toBe(true);
  // Kept as it is where the queue is short, a share would be refused for ever that nobody needs to refuse.
  windows(overload, 2, 30, 2000);
  expect(overload.hopeless).toBe(false);
  const after = windows(overload, 30, 30, 2200);
  expect(fallsOnly(after)).toBe(true);
  expect(after.at(-1)).toBe(0);
});

test('a queue that works itself off refuses nothing, and no more than is refused already', () => {
  const overload = new Overload();
  const falling = Array.from({ length: 20 }, (_, i) => windows(overload, 1, 300 - i * 15, i * WINDOW_MS)[0]!);
  expect(new Set(falling)).toEqual(new Set([0]));
  const other = new Overload();
  windows(other, 5, 120);
  windows(other, 1, 110, 500);
  const share = other.share;
  expect(share).toBeGreaterThan(0);
  for (let i = 1; i < 6; i++) windows(other, 1, 110 - i * 10, 500 + i * WINDOW_MS);
  expect(other.share).toBe(share);
});

test('a socket that overflows counts like one that is never empty', () => {
  const overload = new Overload();
  windows(overload, 5, 1, 0, 200);
  expect(overload.share).toBeGreaterThan(0);
});

test('with no more traffic the share falls by the time that passes, not by what comes', () => {
  const overload = new Overload();
  windows(overload, 20, 120);
  overload.tick(2250, 0);
  expect(overload.share).toBeGreaterThan(0);
  overload.tick(6000, 0);
  expect(overload.share).toBe(0);
});

test('an event loop that stands still counts like a standing queue; one late timer does not', () => {
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

test('most of what is refused in overload is told of, but not recorded; the rest is, and what belongs to calls that were let in', () => {
  const recorded: number[] = [];
  const told: { call: number; status: number; unrecorded: boolean }[] = [];
  const tape: MessageTape = { call: 0, active: true, muted: false, received: (call) => void recorded.push(call) };
  const events: CallEvents = {
    ...NO_EVENTS,
    active: true,
    answered: (_method, call, _transaction, _farm, flags, status) =>
      void told.push({ call, status, unrecorded: (flags & 8) !== 0 }),
  };
  const a = agent({}, { transactions: 100, tape, events });
  const phone = 'udp 198.51.100.7:5060';
  a.receive(request({ callId: 'old' }), phone);
  const muted = tape.muted;
  a.overload.share = 1;
  const calls = Array.from({ length: 320 }, (_, i) =>
    request({ callId: `new${i}`, via: `SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK${i}` }),
  );
  for (const call of calls) expect(a.receive(call, phone)!.text).toMatch(/^SIP\/2.0 503 /);
  expect(a.counts['refused overload']).toBe(320);
  expect(told).toHaveLength(320);
  const ofTape = new Set(recorded.slice(1));
  expect(ofTape.size).toBeGreaterThan(5);
  expect(ofTape.size).toBeLessThan(50);
  for (const { call, status, unrecorded } of told) {
    expect(status).toBe(503);
    expect(unrecorded).toBe(!ofTape.has(call));
  }
  const before = recorded.length;
  expect(a.receive(request({ callId: 'old' }), phone)!.text).toMatch(/^SIP\/2.0 100 /);
  expect(recorded).toHaveLength(before + 1);
  expect([muted, tape.muted]).toEqual([false, false]);
});

/** What a message costs, in thousandths of a millisecond, and what a socket can hold: roughly one core with the FFI datapath. */
const COST = { call: 30, inDialog: 30, refusal: 8, drop: 3 };
const BATCH = 64;
const SOCKET = 16_000;
const STALL_AT = 3000;

/**
 * Seconds of calls at so many times what one thread can do, one message in ten of them within a dialog. What became of those. `stallMs`: how long
 * the thread stands still once.
 */
function simulate(overload: Overload | undefined, times: number, stallMs = 0) {
  // A queue by its front: shift() would move all that waits, for every message.
  const queue: { inDialog: boolean; at: number }[] = [];
  let front = 0;
  let now = 0;
  let arrived = 0;
  let admitted = 0;
  let lost = 0;
  let waited = 0;
  let dropped = 0;
  const perMs = (times * 1000) / COST.call;
  // The first seconds are for the control to find its share.
  const measuring = () => now > 2500;
  const arrive = () => {
    for (; arrived < now * perMs; arrived++) {
      const inDialog = arrived % 10 === 0;
      if (queue.length - front < SOCKET) queue.push({ inDialog, at: arrived / perMs });
      else {
        dropped++;
        if (inDialog && measuring()) lost++;
      }
    }
  };
  while (now < 8000) {
    const most = Math.min(BATCH, queue.length - front);
    overload?.waited(now, most > 0 ? now - queue[front]!.at : 0, dropped);
    dropped = 0;
    let spent = 0;
    for (let i = 0; i < most; i++) {
      const { inDialog, at } = queue[front++]!;
      if (measuring()) waited = Math.max(waited, now - at);
      if (inDialog) spent += COST.inDialog;
      else if (
        overload === undefined ||
        overload.admits(Math.imul(arrived * 31 + i, 0x85ebca6b), Math.floor(now / 1000))
      ) {
        spent += COST.call;
        if (measuring()) admitted++;
      } else spent += overload.hopeless ? COST.drop : COST.refusal;
    }
    const before = now;
    now += Math.max(spent / 1000, 0.1);
    if (before < STALL_AT && now >= STALL_AT) now += stallMs;
    arrive();
  }
  return { lost, waited, admitted: admitted / ((now - 2500) / COST.call) / 1000 };
}

test('at twice the capacity the calls that stand lose nothing, where without control their messages drown', () => {
  expect(simulate(undefined, 2).lost).toBeGreaterThan(1000);
  const controlled = simulate(new Overload(), 2);
  expect(controlled.lost).toBe(0);
  // Below T1: nobody retransmits, which would be more load still.
  expect(controlled.waited).toBeLessThan(500);
  // Beside a fifth for dialogs and what refusals cost, 0.44 are left for new work.
  expect(controlled.admitted).toBeGreaterThan(0.3);
});

test('at the capacity itself hardly anything is refused', () => {
  const full = simulate(new Overload(), 0.95);
  expect(full).toMatchObject({ lost: 0 });
  expect(full.admitted).toBeGreaterThan(0.84);
});

test('where the thread stood still for a while, the backlog is worked off: nothing is refused for it, as long as there is room', () => {
  const arriving = (times: number) => times * 0.9;
  for (const times of [0.7, 0.9]) {
    const stalled = simulate(new Overload(), times, 300);
    expect(stalled.lost).toBe(0);
    expect(stalled.admitted).toBeGreaterThan(arriving(times) * 0.99);
  }
});
