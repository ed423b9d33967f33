import { expect, test } from 'vitest';
import type { KeptCall, KeptMessage } from '../recorder/kept-call.ts';
import { hep } from './kept.ts';
import { HepEncoder } from './packet.ts';

const message = (more: Partial<KeptMessage>): KeptMessage => ({
  ...{ at: 1500, sent: false, transport: 'udp', local: '192.0.2.10:5060', remote: '198.51.100.7:5062' },
  ...{ backend: undefined, revision: 1, bytes: Buffer.from('INVITE') },
  ...more,
});
const call = (...messages: KeptMessage[]) => ({ callId: 'a@b', messages }) as unknown as KeptCall;

/** Packets and their chunks by type, read without the encoder. */
function decoded(stream: Buffer): Map<number, Buffer>[] {
  const packets: Map<number, Buffer>[] = [];
  for (let at = 0; at < stream.length; ) {
    expect(stream.toString('latin1', at, at + 4)).toBe('HEP3');
    const end = at + stream.readUInt16BE(at + 4);
    const chunks = new Map<number, Buffer>();
    for (let chunk = at + 6; chunk < end; chunk += stream.readUInt16BE(chunk + 4))
      chunks.set(stream.readUInt16BE(chunk + 2), stream.subarray(chunk + 6, chunk + stream.readUInt16BE(chunk + 4)));
    packets.push(chunks);
    at = end;
  }
  return packets;
}

test('a kept call is one packet after the other: who sent what to whom, over what, all with the Call-ID', () => {
  const kept = call(
    message({}),
    message({ sent: true, at: 1501.5, remote: '10.0.0.11:5060', bytes: Buffer.from('INVITE on') }),
    message({ transport: 'wss', local: '[2001:db8::1]:443', remote: '[2001:db8::2]:50000' }),
  );
  const packets = decoded(hep(kept, new HepEncoder({ agent: 7, name: 'edge', key: '' })));
  const port = (packet: Map<number, Buffer>, type: number) => packet.get(type)?.readUInt16BE();
  expect(
    packets.map((p) => [p.get(2)?.[0], port(p, 7), port(p, 8), p.get(15)?.toString(), p.get(17)?.toString()]),
  ).toEqual([
    [17, 5062, 5060, 'INVITE', 'a@b'],
    [17, 5060, 5060, 'INVITE on', 'a@b'],
    [6, 50000, 443, 'INVITE', 'a@b'],
  ]);
  const ends = (p: Map<number, Buffer>) => [p.get(3) ?? p.get(5), p.get(4) ?? p.get(6)].map((b) => b?.toString('hex'));
  expect(packets.map(ends)).toEqual([
    ['c6336407', 'c000020a'],
    ['c000020a', '0a00000b'],
    ['20010db8000000000000000000000002', '20010db8000000000000000000000001'],
  ]);
  expect(packets.map((p) => [p.get(9)?.readUInt32BE(), p.get(10)?.readUInt32BE()])).toEqual([
    [1, 500_000],
    [1, 501_500],
    [1, 500_000],
  ]);
});

test('a message that is too long for HEP is left out, and no other', () => {
  const kept = call(message({ bytes: Buffer.alloc(65_530) }), message({ bytes: Buffer.from('BYE') }));
  const packets = decoded(hep(kept, new HepEncoder({ agent: 7, name: 'edge', key: '' })));
  expect(packets.map((p) => p.get(15)?.toString())).toEqual(['BYE']);
});
