import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import type { UdpSocket, UdpTransport } from '../../ports.ts';
import { createCounts } from '../counts.ts';
import { loadLibc } from '../libc.ts';
import { createUdpTransport } from './index.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** So many datagrams, each sent when the one before has come: as many bursts of one, and each wakes the thread. */
const OFTEN = 400;

/** A transport, and a client that sends on as soon as it has heard. `onMessage`: called with each number that arrived. */
async function pingPong(onMessage: (n: number, bed: Bed) => unknown = () => {}) {
  const client = createSocket('udp4').bind(0, '127.0.0.1');
  await once(client, 'listening');
  closers.push(() => new Promise<void>((resolve) => client.close(() => resolve())));
  const got: number[] = [];
  const udp = createUdpTransport({
    kind: 'ffi',
    counts: createCounts(),
    handler(bytes, start, end) {
      const n = Number(Buffer.from(bytes.subarray(start, end)).toString('latin1'));
      got.push(n);
      onMessage(n, bed);
      client.emit('heard', n);
    },
  });
  closers.push(() => udp.close());
  const socket = await udp.open('127.0.0.1', 0, 0);
  const bed: Bed = { udp, socket, client, got };
  return bed;
}
interface Bed {
  udp: UdpTransport;
  socket: UdpSocket;
  client: Socket;
  got: number[];
}

/** Sends `count` numbers, one when the other has been heard. */
async function play({ client, socket }: Bed, count: number, from = 0): Promise<void> {
  for (let n = from; n < from + count; n++) {
    const heard = once(client, 'heard');
    client.send(String(n), socket.port, '127.0.0.1');
    await heard;
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

describe.skipIf(!loadLibc())('waiting for datagrams without the event loop', () => {
  test('begins when they come often, loses none, and gives way to silence', async () => {
    const bed = await pingPong();
    expect(bed.udp.waitedMs).toBe(0);
    let sent = 0;
    // On a machine that is busy with other things they may not come often for a while.
    while (bed.udp.waitedMs === 0 || sent < OFTEN) await play(bed, 1, sent++);
    expect(bed.got).toEqual(numbers(sent));
    // In silence the event loop waits alone: nothing is added any more.
    await expect
      .poll(async () => {
        const before = bed.udp.waitedMs;
        await sleep(50);
        return bed.udp.waitedMs - before;
      })
      .toBe(0);
    await play(bed, 1, sent);
    expect(bed.got).toEqual(numbers(sent + 1));
  });

  test('timers and connections have their turn meanwhile', async () => {
    const server = createServer((connection) => connection.pipe(connection)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(() => server.close());
    const bed = await pingPong();
    await play(bed, 50);
    const playing = play(bed, OFTEN * 4, 50);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const connection = connect((server.address() as { port: number }).port, '127.0.0.1');
    connection.write('hello');
    expect(String((await once(connection, 'data'))[0])).toBe('hello');
    connection.destroy();
    await playing;
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(0);
    expect(bed.got).toEqual(numbers(OFTEN * 4 + 50));
  });

  test('a socket opened meanwhile is heard, and one that is closed by its own message is not', async () => {
    const second: Promise<UdpSocket>[] = [];
    const bed = await pingPong((n, { udp, socket }) => {
      if (n === 100) second.push(udp.open('127.0.0.1', 0, 1));
      if (n === OFTEN - 1) void socket.close();
    });
    await play(bed, OFTEN - 1);
    const other = { ...bed, socket: await (second[0] as Promise<UdpSocket>) };
    await play(other, 100, OFTEN + 1);
    await play(bed, 1, OFTEN - 1);
    bed.client.send('7', bed.socket.port, '127.0.0.1');
    await play(other, 100, 2 * OFTEN);
    expect(bed.got).toHaveLength(OFTEN + 200);
    expect(bed.got.filter((n) => n === 7)).toHaveLength(1);
  });

  test('a transport that is closed in the middle takes its sockets with it', async () => {
    const bed = await pingPong((n, { udp }) => n === OFTEN - 1 && void udp.close());
    await play(bed, OFTEN);
    await bed.udp.close();
    bed.client.send('1', bed.socket.port, '127.0.0.1');
    await sleep(20);
    expect(bed.got).toHaveLength(OFTEN);
  });

  test('more sockets than there were places for', async () => {
    const bed = await pingPong();
    const more = await Promise.all(numbers(40).map(() => bed.udp.open('127.0.0.1', 0, 0)));
    await play(bed, OFTEN);
    for (const socket of more) await play({ ...bed, socket }, 20);
    expect(bed.got).toHaveLength(OFTEN + 40 * 20);
  });
});
