import { expect, test } from 'vitest';
import { wordsOf } from '../../sip/host.ts';
import { HepEncoder, type HepEnd } from './packet.ts';

const end = (address: string, port: number): HepEnd => ({ words: wordsOf(address)!, port });
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');
/** Chunks by hand: vendor 0, type, length with the head, value; lines as in the specification. */
const bytes = (...lines: string[]): string => lines.join('').replaceAll(' ', '');

test('an IPv4 packet, byte for byte', () => {
  const encoder = new HepEncoder({ agent: 2001, name: 'edge', key: 'myHep' });
  const packet = encoder.encode({
    at: 1_313_440_035_000.003,
    protocol: 17,
    from: end('212.202.0.1', 12010),
    to: end('82.116.0.211', 5060),
    callId: 'a@b',
    payload: Buffer.from('INVITE'),
  });
  expect(hex(packet)).toBe(
    bytes(
      '48455033 0087',
      '0000 0001 0007 02',
      '0000 0002 0007 11',
      '0000 0003 000a d4ca0001',
      '0000 0004 000a 527400d3',
      '0000 0007 0008 2eea',
      '0000 0008 0008 13c4',
      '0000 0009 000a 4e498123',
      '0000 000a 000a 00000003',
      '0000 000b 0007 01',
      '0000 000c 000a 000007d1',
      '0000 000e 000b 6d79486570',
      '0000 0013 000a 65646765',
      '0000 0011 0009 614062',
      '0000 000f 000c 494e56495445',
    ),
  );
});

test('an IPv6 packet over TCP, without a key', () => {
  const encoder = new HepEncoder({ agent: 1, name: 'e', key: '' });
  const from = end('2001:db8::1', 5061);
  const packet = encoder.encode({
    at: 1500,
    protocol: 6,
    from,
    to: end('2001:db8::2', 1),
    callId: '',
    payload: Buffer.of(0),
  });
  expect(hex(packet)).toBe(
    bytes(
      '48455033 0089',
      '0000 0001 0007 0a',
      '0000 0002 0007 06',
      '0000 0005 0016 20010db8000000000000000000000001',
      '0000 0006 0016 20010db8000000000000000000000002',
      '0000 0007 0008 13c5',
      '0000 0008 0008 0001',
      '0000 0009 000a 00000001',
      '0000 000a 000a 0007a120',
      '0000 000b 0007 01',
      '0000 000c 000a 00000001',
      '0000 0013 0007 65',
      '0000 0011 0006',
      '0000 000f 0007 00',
    ),
  );
});

test('what does not fit into 16 bits of length makes no packet', () => {
  const encoder = new HepEncoder({ agent: 1, name: 'e', key: '' });
  const packet = (length: number) => {
    const [from, to] = [end('10.0.0.1', 1), end('10.0.0.2', 2)];
    return encoder.encode({ at: 0, protocol: 6, from, to, callId: 'c', payload: Buffer.alloc(length) });
  };
  const overhead = packet(0)!.length;
  expect(packet(65_535 - overhead)).toHaveLength(65_535);
  expect(packet(65_536 - overhead)).toBeUndefined();
});
