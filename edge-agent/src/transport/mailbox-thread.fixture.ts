import { parentPort, workerData } from 'node:worker_threads';
import { type ExchangeStart, exchange } from './mailbox.fixture.ts';

// The other data thread of mailbox.test.ts.
const result = await exchange(workerData as ExchangeStart);
parentPort?.postMessage(result);
