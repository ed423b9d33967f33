import { getPriority } from 'node:os';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';

test.skipIf(process.platform !== 'linux')('the thread that gives way gives way alone', async () => {
  const before = getPriority(0);
  const url = new URL('./precedence.ts', import.meta.url).href;
  const source = `
    const { workerData, parentPort } = require('node:worker_threads');
    const { getPriority } = require('node:os');
    import(workerData).then(({ givePrecedence }) => {
      givePrecedence();
      parentPort.postMessage(getPriority(0));
    });`;
  const worker = new Worker(source, { eval: true, workerData: url });
  const after = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  await worker.terminate();
  expect([before, after, getPriority(0)]).toEqual([before, Math.max(before, 10), before]);
});
