import { createServer } from 'node:http';

/**
 * Takes pushed metrics and traces, after a while. Until then a third of the time each: nobody listens; somebody takes connections and says nothing;
 * everything is answered with 503.
 *
 *   node test/soak/receiver.ts PORT SECONDS
 */
const [port, seconds] = process.argv.slice(2).map(Number) as [number, number];
const started = performance.now();
const thirdsGone = (): number => Math.floor((performance.now() - started) / 1000 / (seconds / 3));

const server = createServer((request, response) => {
  request.resume().on('end', () => {
    if (thirdsGone() < 2) return;
    response.statusCode = thirdsGone() < 3 ? 503 : 200;
    response.end();
  });
});
setTimeout(() => server.listen(port, '127.0.0.1'), (seconds / 3) * 1000);
console.log('the receiver is away');
