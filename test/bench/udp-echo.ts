/**
 * The UDP transport's own ceiling: a forwarder that adds one Via to what comes from the client side and takes the first
 * one off responses, and does nothing else. Compare with the C forwarder of the same shape.
 *
 *   node test/bench/udp-echo.ts [ffi|dgram] [PORT] [BACKEND PORT] [CLIENT PORT]
 *
 * On SIGTERM it prints what it forwarded and the CPU time per pair (request and response).
 */
import { type Segments, TRANSPORT } from '../../edge-agent/src/ports.ts';
import { createCounts } from '../../edge-agent/src/transport/counts.ts';
import { createEndpoint, setAddress } from '../../edge-agent/src/transport/endpoint.ts';
import { createUdpTransport } from '../../edge-agent/src/transport/udp/index.ts';

const [kind = 'ffi', port = '5060', backendPort = '6001', clientPort = '7000'] = process.argv.slice(2);
const local = (p: string) => {
  const e = createEndpoint(TRANSPORT.udp);
  setAddress(e, '127.0.0.1');
  e.port = Number(p);
  return e;
};
const backend = local(backendPort);
const client = local(clientPort);
const via = Buffer.from(`Via: SIP/2.0/UDP 127.0.0.1:${port};branch=z9hG4bK0123456701234567\r\n`);

const message: { -readonly [K in keyof Segments]: Segments[K] } & { bytes: Uint8Array[] } = {
  count: 0,
  bytes: [],
  start: new Int32Array(3),
  end: new Int32Array(3),
  length: 0,
};
function piece(bytes: Uint8Array, start: number, end: number): void {
  const i = message.count++;
  message.bytes[i] = bytes;
  message.start[i] = start;
  message.end[i] = end;
  message.length += end - start;
}
const afterLine = (bytes: Uint8Array, from: number) => bytes.indexOf(10, from) + 1;

const counts = createCounts();
const udp = createUdpTransport({
  kind: kind as 'ffi' | 'dgram',
  counts,
  handler(bytes, start, end) {
    message.count = 0;
    message.length = 0;
    const headers = afterLine(bytes, start);
    piece(bytes, start, headers);
    if (bytes[start] === 0x53 /* S: SIP/2.0 */) {
      piece(bytes, afterLine(bytes, headers), end);
      socket.send(client, message);
      return;
    }
    const { arena } = udp;
    arena.bytes.set(via, arena.used);
    piece(arena.bytes, arena.used, arena.used + via.length);
    arena.used += via.length;
    piece(bytes, headers, end);
    socket.send(backend, message);
  },
});
const socket = await udp.open('127.0.0.1', Number(port), 0);
const before = process.cpuUsage();
process.once('SIGTERM', async () => {
  const { user, system } = process.cpuUsage(before);
  await udp.close();
  console.log(JSON.stringify({ kind, ...counts, cpuMicrosPerPair: (user + system) / (counts.received / 2) }));
});
