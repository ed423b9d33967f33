import { expect, test } from 'vitest';
import { formatRtp, Pacer, parseRtp, type RtpPacket, RtpReceiver } from './rtp.ts';

const packet = (sequence: number, rest: Partial<RtpPacket> = {}): RtpPacket => ({
  payloadType: 0,
  marker: false,
  sequence: sequence & 0xffff,
  timestamp: (sequence * 160) >>> 0,
  ssrc: 7,
  payload: new Uint8Array(160),
  ...rest,
});

test('a packet survives its bytes', () => {
  const sent = packet(65_535, {
    marker: true,
    payloadType: 8,
    timestamp: 0xfffffff0,
    ssrc: 0xdeadbeef,
    payload: Uint8Array.of(1, 2),
  });
  expect(parseRtp(formatRtp(sent))).toEqual(sent);
});

test('contributing sources, extension and padding are stepped over', () => {
  const bytes = Uint8Array.of(
    ...[0xb1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
    ...[9, 9, 9, 9],
    ...[0, 0, 0, 1, 8, 8, 8, 8],
    ...[5, 6, 0, 0, 3],
  );
  expect(parseRtp(bytes)?.payload).toEqual(Uint8Array.of(5, 6));
});

test.each([
  ['too short', Uint8Array.of(0x80, 0, 0)],
  ['another version', new Uint8Array(12)],
  ['sources beyond the end', Uint8Array.of(0x8f, ...new Array(11).fill(0))],
  ['extension beyond the end', Uint8Array.of(0x90, ...new Array(11).fill(0), 0, 0, 0xff, 0xff)],
  ['padding longer than the packet', Uint8Array.of(0xa0, ...new Array(11).fill(0), 200)],
  ['padding of nothing', Uint8Array.of(0xa0, ...new Array(11).fill(0), 0)],
])('no packet: %s', (_why, bytes) => {
  expect(parseRtp(bytes)).toBeUndefined();
});

/** Feeds sequence numbers that arrive every 20 ms. */
function receive(sequences: readonly number[], rest: (i: number) => Partial<RtpPacket> = () => ({})): RtpReceiver {
  const receiver = new RtpReceiver();
  for (const [i, sequence] of sequences.entries()) receiver.add(packet(sequence, rest(i)), i * 20);
  return receiver;
}
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

test('loss over the wrap of the sequence number', () => {
  const sequences = range(65_500, 65_600).filter((s) => s % 10 !== 0 || s === 65_500);
  expect(receive(sequences).report).toMatchObject({ received: 91, lost: 9, loss: 0.09 });
});

test('late, doubled and reordered packets are not lost ones', () => {
  expect(receive([1, 3, 2, 4, 4, 5]).report).toMatchObject({ received: 6, lost: 0, loss: 0 });
});

test('nothing received is no loss of something', () => {
  expect(new RtpReceiver().report).toEqual({ received: 0, lost: 0, loss: 0, jitterMs: 0 });
});

test('a sender that begins anew, with or without a new SSRC, is counted on', () => {
  const ssrc = (i: number) => ({ ssrc: i < 10 ? 7 : 8 });
  expect(receive([...range(0, 10), ...range(40_000, 40_010)], ssrc).report).toMatchObject({ received: 20, lost: 0 });
  // The first packet after the jump could be a stray one: the second proves the jump (RFC 3550 A.1).
  expect(receive([...range(0, 10), ...range(30_000, 30_010)]).report).toMatchObject({ received: 19, lost: 0 });
  expect(receive([...range(0, 10), 30_000, ...range(10, 20)]).report).toMatchObject({ received: 20, lost: 0 });
});

test('jitter: none for a steady stream, its mean deviation for an unsteady one (RFC 3550 A.8)', () => {
  expect(receive(range(0, 100)).report.jitterMs).toBe(0);
  const receiver = new RtpReceiver();
  // Every second packet 10 ms late: the differences of transit times are all 10 ms.
  for (let i = 0; i < 500; i++) receiver.add(packet(i), i * 20 + (i % 2) * 10);
  expect(receiver.report.jitterMs).toBeCloseTo(10, 1);
});

test('a timestamp that wraps makes no jitter', () => {
  const timestamp = (i: number) => ({ timestamp: (0xffffff00 + i * 160) >>> 0 });
  expect(receive(range(0, 20), timestamp).report.jitterMs).toBe(0);
});

test('the pacer does not drift, whatever the timers do', () => {
  const pacer = new Pacer(1000);
  let sent = 0;
  // Every timer 7 ms late: 20, 27, 34 … and still a packet every 20 ms.
  for (let now = 1000; now < 11_000; now += 27) sent += pacer.take(now);
  expect(sent).toBe(Math.floor(9990 / 20) + 1);
});

test('after a hold the pacer catches up in portions, and after a long one goes on from now', () => {
  const pacer = new Pacer(0);
  expect([pacer.take(0), pacer.take(5), pacer.wait(5)]).toEqual([1, 0, 15]);
  // 200 ms: ten packets are owed.
  expect([pacer.take(200), pacer.take(200), pacer.take(200), pacer.wait(200)]).toEqual([5, 5, 0, 20]);
  expect([pacer.take(60_000), pacer.take(60_000), pacer.wait(60_000)]).toEqual([1, 0, 20]);
});
