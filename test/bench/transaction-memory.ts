import { Exchanges } from '../../edge-agent/src/proxy/exchange.ts';

/**
 * Memory of open INVITE transactions in a data thread, after a garbage collection: heap and buffers, with everything that finds them and times
 * them. Prints bytes for each, the kept request included.
 *
 *   node --expose-gc test/bench/transaction-memory.ts REQUEST_BYTES
 */
const COUNT = 50_000;
const request = new Uint8Array(Number(process.argv[2] ?? 600));
if (!globalThis.gc) throw new Error('needs --expose-gc');

function used(): number {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const before = used();
const exchanges = new Exchanges(COUNT, 0);
for (let i = 0; i < COUNT; i++) {
  // Keys as they are in life: hashes of 53 bits.
  const exchange = exchanges.create(2 ** 52 + i * 7919, request.length);
  if (exchange === undefined) throw new Error('the table is full');
  exchange.keepRequest(request, 0, request.length);
  exchange.call = 2 ** 50 + i;
  exchange.watched.began = 1e6 + i / 3;
  exchanges.attempt(exchange, 2 ** 51 + i * 104_729, 0);
  for (let timer = 0; timer < 3; timer++) exchanges.start(exchange, timer, 1000 + timer * 500);
}
const bytes = (used() - before) / COUNT;
console.log(JSON.stringify({ bytes, size: exchanges.size }));
