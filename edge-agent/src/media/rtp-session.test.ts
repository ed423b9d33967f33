import { afterEach, expect, test } from 'vitest';
import { PCMA, PCMU } from './g711.ts';
import { RtpSession } from './rtp-session.ts';
import { melody } from './tone.ts';

const sessions: RtpSession[] = [];
const open = async (address = '127.0.0.1'): Promise<RtpSession> => {
  const session = await RtpSession.open(address);
  sessions.push(session);
  return session;
};
afterEach(() => {
  for (const session of sessions.splice(0)) session.close();
});
const never = new AbortController().signal;
const sound = melody([{ hertz: [440], ms: 200 }]);

test.each([PCMU, PCMA] as const)('what one end plays, the other hears, in codec %i', async (codec) => {
  const [a, b] = [await open(), await open()];
  expect(a.port % 2).toBe(0);
  b.answered();
  a.sendTo({ address: '127.0.0.1', port: b.port }, codec);
  await a.play(sound, never);
  await b.hears(10, 5000, never);
  expect(a.report).toMatchObject({ sent: 10, received: 0 });
  expect(b.report).toMatchObject({ received: 10, lost: 0, early: 0, levelDb: expect.closeTo(-15, 0) });
});

test('what comes before the answer is early, and counts for nothing else', async () => {
  const [a, b] = [await open(), await open()];
  a.sendTo({ address: '127.0.0.1', port: b.port }, PCMU);
  await a.play(sound, never);
  await b.hears(10, 5000, never);
  expect(b.report).toMatchObject({ early: 10, received: 0 });
  b.answered();
  expect(b.report).toEqual({ sent: 0, early: 10, received: 0, lost: 0, loss: 0, jitterMs: 0 });
});

test('nowhere to send to, a name instead of an address, the other family: the time passes, nothing is sent', async () => {
  const a = await open();
  for (const target of [undefined, { address: 'localhost', port: 9 }, { address: '::1', port: 9 }]) {
    a.sendTo(target, PCMU);
    await a.play(sound, never);
  }
  expect(a.report.sent).toBe(0);
});

test('a signal ends it at once; closing twice is safe', async () => {
  const a = await open();
  const stop = new AbortController();
  const playing = a.play(melody([{ hertz: [440], ms: 60_000 }]), stop.signal);
  stop.abort(new Error('enough'));
  await expect(playing).rejects.toThrow('enough');
  a.close();
  a.close();
});

test('IPv6', async () => {
  const [a, b] = [await open('::1'), await open('::1')];
  a.sendTo({ address: '::1', port: b.port }, PCMU);
  await a.play(sound, never);
  await b.hears(10, 5000, never);
  expect(b.report.early).toBe(10);
});
