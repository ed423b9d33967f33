import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';

/**
 * Takes all that an agent tells: HEP by UDP, metrics and traces by HTTP. Throws it away, and keeps count in a file.
 *
 *   node test/bench/telemetry-sink.ts 127.0.0.1 HEP-PORT HTTP-PORT COUNTS.json
 */
export interface SinkCounts {
  hep: number;
  /** HTTP requests by path. */
  requests: Record<string, number>;
}

const [host, hepPort, httpPort, file] = process.argv.slice(2) as [string, string, string, string];
const counts: SinkCounts = { hep: 0, requests: {} };

const hep = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
hep.on('message', () => {
  counts.hep++;
});
hep.bind(Number(hepPort), host);

createServer((request, response) => {
  request.resume().on('end', () => {
    const path = request.url ?? '';
    counts.requests[path] = (counts.requests[path] ?? 0) + 1;
    response.end();
  });
}).listen(Number(httpPort), host);

const write = (): void => writeFileSync(file, JSON.stringify(counts));
setInterval(write, 250);
write();
