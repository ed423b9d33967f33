import { expect, test } from 'vitest';
import { planCall, planRegister } from './plan.ts';

const from = 'sip:30@192.168.178.4';

test('straight to TO, without registering', () => {
  expect(planCall({ from, to: 'sip:31@192.168.178.1' })).toMatchObject({
    ...{ fromUri: from, toUri: 'sip:31@192.168.178.1', transport: 'udp', registrar: undefined, leg: undefined },
    target: { host: '192.168.178.1', port: 0 },
    // A second of tone; 30 s, the tone, and 10 s for the rest.
    ...{ timeoutMs: 30_000, deadlineMs: 41_000 },
  });
});

test('through a proxy, which is the registrar unless another is named or none wanted', () => {
  const options = { from: 'sip:30@example.com:5070', to: '31', proxy: '192.168.178.3' };
  const plan = planCall(options);
  expect([plan.toUri, plan.target.host, plan.registrar?.host]).toEqual([
    ...['sip:31@example.com:5070', '192.168.178.3', '192.168.178.3'],
  ]);
  expect(planCall({ ...options, registrar: '[2001:db8::1]:5062' }).registrar).toMatchObject({
    host: '2001:db8::1',
    port: 5062,
  });
  expect(planCall({ ...options, registrar: false }).registrar).toBeUndefined();
});

test('the transport: asked for, else what the next hop says', () => {
  const transport = (to: string, rest = {}) => planCall({ from, to, ...rest }).transport;
  expect([
    transport('sips:b@h'),
    transport('sip:b@h;transport=tcp'),
    transport('sips:b@h', { transport: 'ws' }),
  ]).toEqual(['tls', 'tcp', 'ws']);
  expect(transport('sip:b@h', { proxy: 'sip:p;transport=tls' })).toBe('tls');
});

test('limits and local address', () => {
  const plan = planCall({ from, to: '31', timeoutMs: 9000, send: [new Uint8Array(16_000)], leg: '::1' });
  expect([plan.deadlineMs, plan.leg]).toEqual([21_000, { address: '::1', port: 0 }]);
  expect(planRegister({ from, deadlineMs: 500 })).toMatchObject({
    deadlineMs: 500,
    registrar: { host: '192.168.178.4' },
  });
});

test.each([
  [{ from: 'sip:a b@h', to: '31' }, /^FROM: found "sip:a b@h", allowed: a SIP URI/],
  [{ from, to: 'sip:b@h\r\nEvil: yes' }, /^TO: found "sip:b@h\\r\\nEvil: yes"/],
  [{ from, to: 'sip:b@h>' }, /^TO/],
  [{ from, to: '31', proxy: 'h:99999' }, /^proxy: found "h:99999", allowed: host\[:port\]/],
  [{ from, to: '31', leg: 'pbx.example.com' }, /^leg: found "pbx.example.com", allowed: an IP address/],
  [{ from, to: '31', timeoutMs: 0 }, /^timeout: found "0 ms", allowed: more than 0/],
])('refused before anything is sent: %j', (options, message) => {
  expect(() => planCall(options)).toThrow(message);
});
