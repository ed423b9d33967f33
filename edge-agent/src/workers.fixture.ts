/**
 * A data thread that carries no traffic: speaks WorkerCommand/WorkerEvent, and does what the ETag of the plan says.
 * `fail:1` worker 1 cannot prepare, `die:1` it ends while preparing, `hang:1` it never answers, `late:1` it ends
 * instead of committing, `crash:1` it ends right after committing, the first time.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { Plan } from './plan.ts';
import type { WorkerCommand, WorkerEvent, WorkerStart } from './ports.ts';

const start = workerData as WorkerStart;
const port = parentPort!;
const say = (event: WorkerEvent): void => port.postMessage(event);
let prepared: { plan: Plan; counters: SharedArrayBuffer } | undefined;
/** Survives the thread: the first bytes of the mailboxes serve as memory over restarts. */
const visits = new Int32Array(start.mailboxes);

port.on('message', (command: WorkerCommand) => {
  const told = command.type === 'prepare' ? command.plan.etag : 'etag' in command ? command.etag : '';
  const [order, whom] = told.split(':');
  const me = Number(whom) === start.index;
  switch (command.type) {
    case 'prepare': {
      if (me && order === 'fail')
        return say({ type: 'failed', etag: told, reason: 'udp 127.0.0.1:5060: address already in use' });
      if (me && order === 'die') process.exit(1);
      if (me && order === 'hang') return;
      prepared = command;
      return say({ type: 'prepared', etag: told, ports: command.plan.listeners.map((l) => l.port || 40_000) });
    }
    case 'commit': {
      if (me && order === 'late' && Atomics.add(visits, 0, 1) === 0) process.exit(1);
      // One count as a sign of life: worker 0 counts 1, worker 1 counts 10, in drops[0].
      new Float64Array(prepared!.counters)[0]! += 10 ** start.index;
      say({ type: 'committed', etag: told });
      if (me && order === 'crash' && Atomics.add(visits, 0, 1) === 0)
        setTimeout(() => {
          throw new Error('a bug');
        }, 10);
      return;
    }
    case 'abort': {
      Atomics.add(visits, 1 + start.index, 1);
      prepared = undefined;
      return;
    }
    case 'close':
      return say({ type: 'closed' });
  }
});
say({ type: 'ready' });
