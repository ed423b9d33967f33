import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SipMessage } from '../../sip/text-message.ts';
import { ProbeFault } from './fault.ts';
import { type InviteEvents, Transactions } from './transaction.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const request = (method: string): SipMessage =>
  new SipMessage(`${method} sip:clyde@192.0.2.2 SIP/2.0`, [
    ['Via', 'SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1'],
    ['Route', '<sip:192.0.2.9;lr>'],
    ['Max-Forwards', '70'],
    ['From', '<sip:bonnie@192.0.2.1>;tag=f'],
    ['To', '<sip:clyde@192.0.2.2>'],
    ['Call-ID', 'c'],
    ['CSeq', `3 ${method}`],
  ]);

function setUp(reliable = false) {
  const sent: { message: SipMessage; at: number }[] = [];
  const started = Date.now();
  const transactions = new Transactions(reliable);
  const transmit = (message: SipMessage) => void sent.push({ message, at: Date.now() - started });
  const times = (method: string) => sent.filter((s) => s.message.method === method).map((s) => s.at);
  return { transactions, transmit, sent, times };
}
const never = new AbortController().signal;

test('Timer E: doubled up to T2; Timer F gives up after 64 × T1', async () => {
  const { transactions, transmit, times } = setUp();
  const answer = transactions.request(request('OPTIONS'), transmit, never);
  const failed = expect(answer).rejects.toThrow('no answer to OPTIONS in 32 s');
  await vi.advanceTimersByTimeAsync(60_000);
  await failed;
  expect(times('OPTIONS')).toEqual([0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
});

test('a provisional response makes Timer E T2, a final one ends it', async () => {
  const { transactions, transmit, times } = setUp();
  const message = request('REGISTER');
  const answer = transactions.request(message, transmit, never);
  transactions.receive(message.reply(100, 'Trying'));
  await vi.advanceTimersByTimeAsync(5000);
  transactions.receive(message.reply(200, 'OK', 't'));
  expect((await answer).status).toBe(200);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(times('REGISTER')).toEqual([0, 500, 4500]);
});

test('over a reliable transport nothing is sent twice', async () => {
  const { transactions, transmit, times } = setUp(true);
  const answer = transactions.request(request('BYE'), transmit, never);
  const failed = expect(answer).rejects.toThrow('no answer to BYE');
  await vi.advanceTimersByTimeAsync(60_000);
  await failed;
  expect(times('BYE')).toEqual([0]);
});

test('a signal and a broken channel end a request; what is closed stays silent', async () => {
  const { transactions, transmit, times } = setUp();
  const stop = new AbortController();
  const stopped = transactions.request(request('BYE'), transmit, stop.signal);
  stop.abort(new Error('enough'));
  await expect(stopped).rejects.toThrow('enough');
  const failed = transactions.request(request('BYE'), transmit, never);
  transactions.fail(new ProbeFault('connection refused'));
  await expect(failed).rejects.toThrow('connection refused');
  void transactions.request(request('BYE'), transmit, never);
  transactions.close();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(times('BYE')).toEqual([0, 0, 0]);
});

const listen = (): InviteEvents & { said: string[] } => {
  const said: string[] = [];
  return {
    said,
    provisional: (r) => said.push(`provisional ${r.status}`),
    success: (r) => said.push(`success ${r.tag('to')}`),
    failure: (r) => said.push(`failure ${r.status}`),
    fault: (f) => said.push(f.message),
  };
};

test('Timer A doubles without bound, Timer B gives up', async () => {
  const { transactions, transmit, times } = setUp();
  const on = listen();
  transactions.invite(request('INVITE'), transmit, on);
  await vi.advanceTimersByTimeAsync(32_000);
  expect(times('INVITE')).toEqual([0, 500, 1500, 3500, 7500, 15_500, 31_500]);
  expect(on.said).toEqual(['no answer to INVITE in 32 s']);
});

test('a provisional response ends retransmission, and the wait has no end of its own', async () => {
  const { transactions, transmit, times } = setUp();
  const on = listen();
  const invite = request('INVITE');
  transactions.invite(invite, transmit, on);
  transactions.receive(invite.reply(180, 'Ringing', 't'));
  await vi.advanceTimersByTimeAsync(120_000);
  expect([times('INVITE'), on.said]).toEqual([[0], ['provisional 180']]);
});

test('a failure is told once and acknowledged as often as it comes, by the rules of RFC 3261 §17.1.1.3', () => {
  const { transactions, transmit, sent } = setUp();
  const on = listen();
  const invite = request('INVITE');
  transactions.invite(invite, transmit, on);
  for (let i = 0; i < 2; i++) transactions.receive(invite.reply(486, 'Busy Here', 't'));
  transactions.receive(invite.reply(180, 'Ringing', 't'));
  expect(on.said).toEqual(['failure 486']);
  const [ack, again] = sent.map((s) => s.message).filter((m) => m.method === 'ACK');
  expect(again?.toBytes()).toEqual(ack?.toBytes());
  expect([ack?.get('via'), ack?.get('route'), ack?.get('cseq'), ack?.tag('to'), ack?.get('max-forwards')]).toEqual([
    ...[invite.get('via'), invite.get('route'), '3 ACK', 't', '70'],
  ]);
});

test('every 2xx is handed on, a failure after one is not', () => {
  const { transactions, transmit } = setUp();
  const on = listen();
  const invite = request('INVITE');
  transactions.invite(invite, transmit, on);
  for (const tag of ['a', 'b', 'a']) transactions.receive(invite.reply(200, 'OK', tag));
  transactions.receive(invite.reply(486, 'Busy Here', 'c'));
  expect(on.said).toEqual(['success a', 'success b', 'success a']);
});

test('what belongs to nothing is dropped: another branch, another method', () => {
  const { transactions, transmit } = setUp();
  const on = listen();
  const invite = request('INVITE');
  transactions.invite(invite, transmit, on);
  const other = invite.reply(200, 'OK', 't');
  other.set('Via', ['SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK2']);
  transactions.receive(other);
  transactions.receive(request('CANCEL').reply(200, 'OK', 't'));
  expect(on.said).toEqual([]);
});
