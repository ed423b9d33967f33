import { expect, test } from 'vitest';
import { SipMessage } from '../../sip/text-message.ts';
import { Dialog } from './dialog.ts';

const invite = new SipMessage('INVITE sip:clyde@example.com SIP/2.0', [
  ['Via', 'SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1'],
  ['From', '<sip:bonnie@example.com>;tag=f'],
  ['To', '<sip:clyde@example.com>'],
  ['Call-ID', 'c'],
  ['CSeq', '7 INVITE'],
]);

function answer(...headers: [string, string][]): SipMessage {
  const response = invite.reply(200, 'OK', 't');
  for (const [name, value] of headers) response.headers.push({ name, value });
  return response;
}

test('requests of a dialog: target, route set reversed, tags, numbers that rise', () => {
  const response = answer(
    ['Record-Route', '<sip:192.0.2.11;lr>, <sip:192.0.2.12:5070;lr>'],
    ['Record-Route', '<sip:192.0.2.13;lr>'],
    ['Contact', '"Clyde" <sip:clyde@192.0.2.99:5080;x=1>;expires=60'],
  );
  const dialog = new Dialog(invite, response);
  const bye = dialog.request('BYE');
  expect(bye.start).toBe('BYE sip:clyde@192.0.2.99:5080;x=1 SIP/2.0');
  expect(bye.list('route')).toEqual(['<sip:192.0.2.13;lr>', '<sip:192.0.2.12:5070;lr>', '<sip:192.0.2.11;lr>']);
  expect([bye.tag('from'), bye.tag('to'), bye.get('call-id'), bye.get('cseq')]).toEqual(['f', 't', 'c', '8 BYE']);
  expect(dialog.request('INFO').cseq).toBe(9);
  // ACK has the number of its INVITE, and takes none (RFC 3261 §13.2.2.4).
  expect([dialog.request('ACK', 7).cseq, dialog.request('BYE').cseq]).toEqual([7, 10]);
  expect(dialog.nextHop).toEqual({ address: '192.0.2.13', port: 5060 });
});

test('a strict router gets its own URI, and the target as the last Route', () => {
  const dialog = new Dialog(invite, answer(['Record-Route', '<sip:192.0.2.11>'], ['Contact', '<sip:c@192.0.2.99>']));
  const bye = dialog.request('BYE');
  expect([bye.uri, bye.list('route')]).toEqual(['sip:192.0.2.11', ['<sip:c@192.0.2.99>']]);
  expect(dialog.nextHop?.address).toBe('192.0.2.11');
});

test('without Record-Route the target is the next hop; a name is left to the channel; a refresh moves it', () => {
  const dialog = new Dialog(invite, answer(['Contact', '<sip:c@[2001:db8::9]:5070>']));
  expect(dialog.nextHop).toEqual({ address: '2001:db8::9', port: 5070 });
  dialog.refresh(answer(['Contact', '<sip:c@pbx.example.com>']));
  expect([dialog.nextHop, dialog.request('BYE').uri]).toEqual([undefined, 'sip:c@pbx.example.com']);
  // Without a Contact everything stays.
  dialog.refresh(answer());
  expect(dialog.request('BYE').uri).toBe('sip:c@pbx.example.com');
});

test('a request belongs to a dialog by Call-ID and both tags, and comes in its order', () => {
  const dialog = new Dialog(invite, answer());
  const theirs = (from: string, to: string, callId: string, sequence: number): SipMessage =>
    new SipMessage('BYE sip:bonnie@192.0.2.1 SIP/2.0', [
      ['From', `<sip:clyde@example.com>;tag=${from}`],
      ['To', `<sip:bonnie@example.com>;tag=${to}`],
      ['Call-ID', callId],
      ['CSeq', `${sequence} BYE`],
    ]);
  expect(dialog.owns(theirs('t', 'f', 'c', 1))).toBe(true);
  for (const foreign of [theirs('x', 'f', 'c', 1), theirs('t', 'x', 'c', 1), theirs('t', 'f', 'x', 1)])
    expect(dialog.owns(foreign)).toBe(false);
  expect([5, 5, 4, 6].map((n) => dialog.inOrder(theirs('t', 'f', 'c', n)))).toEqual([true, false, false, true]);
});
