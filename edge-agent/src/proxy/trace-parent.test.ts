import { expect, test } from 'vitest';
import { hash51 } from '../sip/hash.ts';
import { toBytes } from '../sip/text.ts';
import { spanOfBranch, traceKey, traceOf } from '../telemetry/traces/ids.ts';
import { agent, answer, header, request } from './proxy.fixture.ts';

const PHONE = 'udp 198.51.100.7:5060';
const PBX1 = 'udp 10.0.0.11:5060';
const ON = { tracing: { traceparent: true } };
const FORGED = [`Traceparent: 00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`, 'tracestate: a=1', 'TRACESTATE: b=2'];

/** The header that the control thread's ids make of a forwarded request. */
function expected(text: string): string {
  const callId = toBytes(header(text, 'Call-ID')[0]!);
  const { traceId } = traceOf(traceKey('pbx'), hash51(callId, 0, callId.length));
  const branch = /branch=([^;]+)/.exec(header(text, 'Via')[0]!)![1]!;
  return `00-${traceId}-${spanOfBranch(branch)}-01`;
}

test('a request towards a PBX names the trace and the attempt, once; what the client wrote is gone', () => {
  for (const transactions of [0, 10]) {
    const a = agent(ON, { transactions });
    const out = a.receive(request({ more: FORGED }), PHONE)!;
    const invite = a.sent.find(({ text }) => text.startsWith('INVITE ')) ?? out;
    expect(header(invite.text, 'traceparent')).toEqual([expected(invite.text)]);
    expect(invite.text.toLowerCase().match(/traceparent:|tracestate:/g)).toEqual(['traceparent:']);
  }
});

test('every agent of the farm says the same', () => {
  const [one, two] = [1, 2].map((number) => agent(ON, { number }).receive(request(), PHONE)!);
  expect(header(one!.text, 'traceparent')).toEqual(header(two!.text, 'traceparent'));
});

test('REGISTER and ACK name none; neither does anything where it is not asked for, and there the headers of others pass', () => {
  for (const method of ['REGISTER', 'ACK'])
    expect(header(agent(ON).receive(request({ method, more: FORGED }), PHONE)!.text, 'traceparent')).toEqual([]);
  const untouched = agent().receive(request({ more: FORGED.slice(0, 1) }), PHONE)!;
  expect(untouched.text).toContain(`\n${FORGED[0]}`);
  expect(untouched.text.match(/traceparent:/gi)).toHaveLength(1);
});

test('clients get none', () => {
  const a = agent(ON);
  const out = a.receive(request(), PHONE)!;
  const back = a.receive(answer(out.text), PBX1)!;
  expect(back.text).not.toMatch(/traceparent/i);
});
