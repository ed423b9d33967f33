import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { hostPort, locate, placeOf } from './locate.ts';

const never = new AbortController().signal;
let server: Socket | undefined;
afterEach(() => {
  server?.close();
  server = undefined;
});

/** A name server: question (`name type`) → data of the one record. Everything else does not exist. */
async function nameServer(records: Record<string, number[]>): Promise<string> {
  const socket = createSocket('udp4');
  server = socket;
  socket.on('message', (query, from) => {
    let at = 12;
    const labels: string[] = [];
    for (; query[at] !== 0; at += query[at]! + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!));
    const question = query.subarray(12, at + 5);
    const type = query.readUInt16BE(at + 1);
    const data = records[`${labels.join('.').toLowerCase()} ${type}`];
    const head = Buffer.from([query[0]!, query[1]!, 0x81, data ? 0x80 : 0x83, 0, 1, 0, data ? 1 : 0, 0, 0, 0, 0]);
    const answer = data ? [0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length, ...data] : [];
    socket.send(Buffer.concat([head, question, Buffer.from(answer)]), from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return `127.0.0.1:${socket.address().port}`;
}

const name = (text: string): number[] => [...text.split('.').flatMap((l) => [l.length, ...Buffer.from(l)]), 0];
const [A, SRV, AAAA] = [1, 33, 28];
const at = (text: string) => placeOf(text)!;

test('a place is what a URI says', () => {
  expect(at('sip:30@example.com')).toEqual({ user: '30', host: 'example.com', port: 0 });
  expect(at('"B" <sips:b@[2001:db8::1]:5071>')).toEqual({
    user: 'b',
    host: '2001:db8::1',
    port: 5071,
    transport: 'tls',
  });
  expect(at('sip:b@h;x=transport=udp;transport=TCP;lr').transport).toBe('tcp');
  for (const text of ['tel:+39', 'mailto:x@y', '', 'sip:', 'sip:a@h:70000']) expect(placeOf(text)).toBeUndefined();
  expect([hostPort('::1', 5060), hostPort('h', 1)]).toEqual(['[::1]:5060', 'h:1']);
});

test('an address needs nobody; ports by transport', async () => {
  const unreachable = ['127.0.0.1:9'];
  for (const [transport, port] of [
    ['udp', 5060],
    ['tcp', 5060],
    ['tls', 5061],
    ['ws', 80],
  ] as const)
    expect(await locate(at('sip:b@192.0.2.1'), transport, unreachable, never)).toEqual({
      ...{ transport, address: '192.0.2.1', port, name: '192.0.2.1' },
    });
  expect((await locate(at('sip:b@localhost:5090'), 'udp', unreachable, never)).port).toBe(5090);
});

test('SRV where no port is given, then the address', async () => {
  const dns = await nameServer({
    [`_sip._udp.example.com ${SRV}`]: [0, 1, 0, 1, 0x14, 0x50, ...name('pbx.example.com')],
    [`pbx.example.com ${A}`]: [192, 0, 2, 7],
    [`example.com ${A}`]: [192, 0, 2, 8],
    [`six.example.com ${AAAA}`]: [0x20, 1, 0x0d, 0xb8, ...new Array(11).fill(0), 9],
  });
  const find = (uri: string) => locate(at(uri), 'udp', [dns], never);
  expect(await find('sip:b@example.com')).toMatchObject({ address: '192.0.2.7', port: 5200, name: 'example.com' });
  expect(await find('sip:b@example.com:5062')).toMatchObject({ address: '192.0.2.8', port: 5062 });
  expect(await find('sip:b@six.example.com')).toMatchObject({ address: '2001:db8::9', port: 5060 });
  await expect(find('sip:b@nowhere.example.com')).rejects.toThrow(
    'nowhere.example.com cannot be resolved: no such name',
  );
});
