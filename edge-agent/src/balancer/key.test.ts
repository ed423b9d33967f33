import { expect, test } from 'vitest';
import type { AffinityKey } from '../plan.ts';
import { endpoint } from '../proxy/proxy.fixture.ts';
import { MessageView, PARSE_ERRORS } from '../sip/message.ts';
import { UriView } from '../sip/uri.ts';
import { affinityHash } from './key.ts';

function keyOf(
  key: AffinityKey['kind'],
  method: string,
  uri: string,
  to = 'sip:other@x.example',
  callId = 'c',
  extra: { from?: string; more?: string[]; source?: string; header?: string } = {},
) {
  const text = [
    `${method} ${uri} SIP/2.0`,
    'Via: SIP/2.0/UDP h;branch=z9hG4bKa',
    `From: <${extra.from ?? 'sip:a@b'}>;tag=1`,
    `To: <${to}>`,
    `Call-ID: ${callId}`,
    `CSeq: 1 ${method}`,
    ...(extra.more ?? []),
    '',
    '',
  ].join('\r\n');
  const message = new MessageView();
  const bytes = new TextEncoder().encode(text);
  expect(PARSE_ERRORS[message.parse(bytes, 0, bytes.length)]).toBe('');
  const view = new UriView();
  expect(view.parse(bytes, message.uriStart, message.uriEnd)).toBe(true);
  return affinityHash(
    { kind: key, header: extra.header ?? '' },
    message,
    view,
    endpoint(extra.source ?? 'udp 192.0.2.1:5060'),
  );
}

test('a REGISTER and the INVITE for the same user have the same key', () => {
  expect(keyOf('user', 'REGISTER', 'sip:example.com', 'sip:bonnie@example.com')).toBe(
    keyOf('user', 'INVITE', 'sip:bonnie@10.0.0.1:5080;x=y'),
  );
  expect(keyOf('user', 'INVITE', 'sip:bonnie@a')).not.toBe(keyOf('user', 'INVITE', 'sip:clyde@a'));
});

test('escapes count as what they stand for, case counts', () => {
  expect(keyOf('user', 'INVITE', 'sip:%62onni%65@a')).toBe(keyOf('user', 'INVITE', 'sip:bonnie@a'));
  expect(keyOf('user', 'INVITE', 'sip:Bonnie@a')).not.toBe(keyOf('user', 'INVITE', 'sip:bonnie@a'));
});

test('a telephone number is the same with and without separators, parameters and password', () => {
  const plain = keyOf('user', 'INVITE', 'sip:+15551234@a');
  expect(keyOf('user', 'INVITE', 'tel:+1-555-1234')).toBe(plain);
  expect(keyOf('user', 'INVITE', 'sip:+15551234;phone-context=x:pw@a')).toBe(plain);
});

test('domain: the tenant, without regard to case; of a REGISTER that of To', () => {
  expect(keyOf('domain', 'INVITE', 'sip:x@Tenant.Example')).toBe(
    keyOf('domain', 'REGISTER', 'sip:y.example', 'sip:z@tenant.example'),
  );
  expect(keyOf('domain', 'INVITE', 'sip:x@a.example')).not.toBe(keyOf('domain', 'INVITE', 'sip:x@b.example'));
});

test('call-id: the same for all requests of a call', () => {
  expect(keyOf('call-id', 'INVITE', 'sip:x@a')).toBe(keyOf('call-id', 'BYE', 'sip:z@b'));
  expect(keyOf('call-id', 'INVITE', 'sip:x@a', 'sip:t@h', 'd')).not.toBe(keyOf('call-id', 'INVITE', 'sip:x@a'));
});

test('a Request-URI without a user falls back to To', () => {
  expect(keyOf('user', 'MESSAGE', 'sip:example.com', 'sip:bonnie@example.com')).toBe(
    keyOf('user', 'MESSAGE', 'sip:bonnie@a'),
  );
});

test('from-user: the caller; source-ip: the address without the port; header: the named value, any case of its name', () => {
  const key = (kind: AffinityKey['kind'], extra: object) => keyOf(kind, 'INVITE', 'sip:x@a', 'sip:t@h', 'c', extra);
  expect(key('from-user', { from: 'sip:bonnie@one' })).toBe(key('from-user', { from: 'sip:bonnie@two' }));
  expect(key('from-user', { from: 'sip:bonnie@one' })).not.toBe(key('from-user', { from: 'sip:clyde@one' }));
  expect(key('source-ip', { source: 'udp 192.0.2.1:1' })).toBe(key('source-ip', { source: 'tcp 192.0.2.1:2 #3' }));
  expect(key('source-ip', { source: 'udp 192.0.2.1:1' })).not.toBe(key('source-ip', { source: 'udp 192.0.2.2:1' }));
  const tenant = (value: string) => key('header', { header: 'x-tenant', more: [`X-Tenant : ${value}`] });
  expect(tenant('red')).toBe(key('header', { header: 'x-tenant', more: ['x-TENANT:red'] }));
  expect(tenant('red')).not.toBe(tenant('blue'));
  expect(key('header', { header: 'x-tenant', more: ['X-Tenants: red'] })).toBe(key('user', {}));
});
