import { expect, test } from 'vitest';
import { MessageView, PARSE_ERRORS } from '../sip/message.ts';
import { UriView } from '../sip/uri.ts';
import { affinityHash } from './key.ts';

function keyOf(
  key: 'user' | 'domain' | 'call-id',
  method: string,
  uri: string,
  to = 'sip:other@x.example',
  callId = 'c',
) {
  const text = [
    `${method} ${uri} SIP/2.0`,
    'Via: SIP/2.0/UDP h;branch=z9hG4bKa',
    'From: <sip:a@b>;tag=1',
    `To: <${to}>`,
    `Call-ID: ${callId}`,
    `CSeq: 1 ${method}`,
    '',
    '',
  ].join('\r\n');
  const message = new MessageView();
  const bytes = new TextEncoder().encode(text);
  expect(PARSE_ERRORS[message.parse(bytes, 0, bytes.length)]).toBe('');
  const view = new UriView();
  expect(view.parse(bytes, message.uriStart, message.uriEnd)).toBe(true);
  return affinityHash(key, message, view);
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
