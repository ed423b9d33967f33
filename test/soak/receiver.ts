import { createServer } from 'node:http';

/**
 * Takes pushed metrics, after a while: until then everything is answered with 503.
 *
 *   node test/soak/receiver.ts PORT SECONDS
 */
const [port, seconds] = process.argv.slice(2).map(Number) as [number, number];
const opensAt = performance.now() + seconds * 1000;

createServer((request, response) => {
  request.resume().on('end', () => {
    response.statusCode = performance.now() < opensAt ? 503 : 200;
    response.end();
  });
}).listen(port, '127.0.0.1', () => console.log('receiver listens'));
