import dgram from 'node:dgram';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { TRANSPORT } from '../ports.ts';
import { createEndpoint, formatEndpoint } from './endpoint.ts';
import { IcmpReader, readUnreachable4, readUnreachable6 } from './icmp.ts';
import { loadLibc } from './libc.ts';

const ends = () => [createEndpoint(TRANSPORT.udp), createEndpoint(TRANSPORT.udp)] as const;

/** ICMP port unreachable from 10.0.0.11 about a datagram 192.0.2.10:5060 → 10.0.0.11:5061, the outer header with one option. */
const FOUR = Uint8Array.from(
  Buffer.from(
    `46000000${'00000000'}40010000${'0a00000b'}c000020a${'01010101'}` + // outer IPv4
      '0303000000000000' +
      `45000000${'00000000'}40110000${'c000020a'}0a00000b` +
      '13c413c500000000',
    'hex',
  ),
);
/** ICMPv6 port unreachable about 2001:db8::10 port 5060 → 2001:db8::b port 5060. */
const SIX = Uint8Array.from(
  Buffer.from(
    '0104000000000000' +
      `6000000000001140${'20010db8000000000000000000000010'}${'20010db800000000000000000000000b'}` +
      '13c413c4',
    'hex',
  ),
);

test('the two ends of the datagram that could not be delivered are read, of both families', () => {
  const [from, to] = ends();
  expect(readUnreachable4(FOUR, FOUR.length, from, to)).toBe(true);
  expect([formatEndpoint(from), formatEndpoint(to)]).toEqual(['192.0.2.10:5060', '10.0.0.11:5061']);
  expect(readUnreachable6(SIX, SIX.length, from, to)).toBe(true);
  expect([formatEndpoint(from), formatEndpoint(to)]).toEqual([
    '[2001:db8:0:0:0:0:0:10]:5060',
    '[2001:db8:0:0:0:0:0:b]:5060',
  ]);
});

test('what is cut anywhere, about TCP, or a request for smaller packets is none of ours', () => {
  const [from, to] = ends();
  for (let length = 0; length < FOUR.length - 4; length++) expect(readUnreachable4(FOUR, length, from, to)).toBe(false);
  const changed = (at: number, value: number) => FOUR.with(at, value);
  expect(readUnreachable4(changed(24, 11), FOUR.length, from, to)).toBe(false);
  expect(readUnreachable4(changed(25, 4), FOUR.length, from, to)).toBe(false);
  expect(readUnreachable4(changed(32 + 9, 6), FOUR.length, from, to)).toBe(false);
  expect(readUnreachable6(SIX.with(14, 6), SIX.length, from, to)).toBe(false);
  for (let length = 0; length < SIX.length; length++) expect(readUnreachable6(SIX, length, from, to)).toBe(false);
});

const libc = loadLibc();
/** Raw sockets need a privilege. */
function allowed(): boolean {
  if (libc === undefined) return false;
  try {
    new IcmpReader(libc, () => {}).close();
    return true;
  } catch {
    return false;
  }
}

test.skipIf(!allowed())('the kernel tells of a port that nobody listens on', async () => {
  const nobody = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await once(nobody, 'listening');
  const { port } = nobody.address();
  nobody.close();
  const sender = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await once(sender, 'listening');
  const told = Promise.withResolvers<string>();
  const mine = `127.0.0.1:${sender.address().port}`;
  const reader = new IcmpReader(libc!, (from, to) => {
    if (formatEndpoint(from) === mine) told.resolve(formatEndpoint(to));
  });
  sender.send('hello', port, '127.0.0.1');
  const alive = setInterval(() => {}, 1000);
  expect(await told.promise).toBe(`127.0.0.1:${port}`);
  clearInterval(alive);
  reader.close();
  reader.close();
  sender.close();
});
