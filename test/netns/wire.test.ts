import { expect, test } from 'vitest';
import { staleNames } from './stale.ts';
import { readMessage, value, values } from './wire.ts';

test('a message is read with compact names, folded lines and lists taken apart', () => {
  const message = readMessage(
    'INVITE sip:clyde@example.test SIP/2.0\r\n' +
      'v: SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b;x="p,q"\r\nVia : SIP/2.0/TCP c\r\n' +
      'Route: <sip:t@10.0.0.1;lr>,\r\n <sip:pbx;x=1,2>\r\nf: "Bonnie, P." <sip:b@x>\r\n\r\nbody',
  );
  expect(message).toMatchObject({ method: 'INVITE', status: 0, body: 'body' });
  expect(values(message, 'Via')).toEqual(['SIP/2.0/UDP a;branch=1', 'SIP/2.0/UDP b;x="p,q"', 'SIP/2.0/TCP c']);
  expect(values(message, 'route')).toEqual(['<sip:t@10.0.0.1;lr>', '<sip:pbx;x=1,2>']);
  expect(value(message, 'from')).toBe('"Bonnie, P." <sip:b@x>');
});

test('a response has a status and no method', () => {
  expect(readMessage('SIP/2.0 200 OK\r\nl: 0\r\n\r\n')).toMatchObject({
    method: '',
    status: 200,
    headers: [['content-length', '0']],
  });
});

test('only namespaces of test runs that are no more are stale', () => {
  const names = ['sfl-10-0-pbx1', 'sfl-11-0-pbx1', 'other', 'sfl-x-0-pbx1'];
  expect(staleNames(names, (pid) => pid === 11)).toEqual(['sfl-10-0-pbx1']);
});
