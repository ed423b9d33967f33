import { parentPort, workerData } from 'node:worker_threads';
import { DataThreadSockets } from './data-sockets.ts';
import type { Endpoint, Segments, WorkerCommand, WorkerEvent, WorkerStart } from './ports.ts';
import type { Output } from './proxy/context.ts';
import { SipProxy } from './proxy/proxy.ts';
import { buildRuntime, type Listener, type Runtime } from './proxy/runtime.ts';
import { SlabCounters } from './telemetry/counters.ts';
import { DROP } from './telemetry/slab.ts';
import { createCounts } from './transport/counts.ts';
import { openMailbox } from './transport/mailbox.ts';
import { createStreamTransport } from './transport/tcp.ts';
import { createUdpTransport } from './transport/udp/index.ts';

/**
 * A data thread. The path of a message, top to bottom:
 *
 *   transport/udp, transport/tcp (framed by sip/framer)   a whole message and where it came from
 *   → receive()                                           counted, given its listener of the running plan
 *   → proxy/proxy.ts                                      parsed as far as needed (sip/message)
 *   → proxy/request.ts                                    validated, own Routes taken, token or affinity → target
 *     or proxy/response.ts                                our Via taken off → target
 *   → proxy/forward.ts                                    edits: Via, Record-Route or Path, Max-Forwards, received
 *   → output below                                        the listener's socket, a connection, or another worker's mailbox
 */
const start = workerData as WorkerStart;
const port = parentPort!;

/** Room that one message's edits may need in the arena: two Record-Routes, Path, Via, and a local response's headers. */
const EDIT_ROOM = 4096;
/** Slow enough to cost nothing, fast enough for second-grained clocks and counters. */
const TICK_MS = 250;

interface Running {
  runtime: Runtime;
  proxy: SipProxy;
  counters: SlabCounters;
  /** Listener of the plan by socket handle. */
  byHandle: (Listener | undefined)[];
}

const counts = createCounts();
const udp = createUdpTransport({ kind: start.datapath, handler: receive, counts });
const streams = createStreamTransport({
  kind: start.datapath,
  handler: receive,
  counts,
  // Datagrams that stream messages caused have no received UDP batch to leave with.
  onBatchEnd: () => udp.flush(),
});
const mail = openMailbox(start.mailboxes, start.workers, start.index, drainMail);
const sockets = new DataThreadSockets(udp, streams);
let running: Running | undefined;
let seconds = Math.floor(Date.now() / 1000);

function receive(bytes: Uint8Array, from: number, to: number, source: Endpoint, handle: number): void {
  const now = running;
  const listener = now?.byHandle[handle];
  if (now === undefined || listener === undefined) return;
  now.counters.received(listener.index, to - from);
  now.proxy.handle(bytes, from, to, source, listener.index);
}

function drainMail(): void {
  mail.drain((connection, bytes, from, to) => {
    piece.bytes[0] = bytes;
    piece.start[0] = from;
    piece.end[0] = to;
    piece.length = to - from;
    streams.send(connection, piece);
  });
}

/** One piece, for mail that is passed on as it came. */
const piece = {
  count: 1,
  bytes: [new Uint8Array(0)] as Uint8Array[],
  start: new Int32Array(1),
  end: new Int32Array(1),
  length: 0,
};

const output: Output = {
  arena() {
    if (udp.arena.used + EDIT_ROOM > udp.arena.bytes.length) udp.flush();
    return udp.arena;
  },
  datagram(listener, to, message) {
    running!.counters.sent(listener.index, message.length);
    sockets.udp(listener.index)?.send(to, message);
  },
  stream(listener, worker, to, message) {
    const { counters } = running!;
    if (worker !== start.index) {
      if (worker >= start.workers) return false;
      // Its own reason, and so no "unknown flow" besides: the connection may well be there.
      if (mail.post(worker, to.connection, message)) counters.sent(listener.index, message.length);
      else counters.drop(DROP.mailbox_full);
      return true;
    }
    const sent = sendHere(to, message);
    if (sent) counters.sent(listener.index, message.length);
    return sent;
  },
  dial(listener, to, message) {
    const sent = streams.sendTo(to, message, listener.plan.address, sockets.handle(listener.index));
    if (sent) running!.counters.sent(listener.index, message.length);
    return sent;
  },
  seconds: () => seconds,
};

function sendHere(to: Endpoint, message: Segments): boolean {
  if (to.port !== 0 && !streams.isPeer(to.connection, to)) return false;
  return streams.send(to.connection, message);
}

const tick = setInterval(() => {
  seconds = Math.floor(Date.now() / 1000);
  running?.counters.takeTransport(counts);
}, TICK_MS);

async function command(message: WorkerCommand): Promise<WorkerEvent | undefined> {
  switch (message.type) {
    case 'prepare': {
      const { plan, counters } = message;
      try {
        const ports = await sockets.prepare(plan);
        const runtime = buildRuntime(plan, start.index);
        const slab = new SlabCounters(plan, counters);
        next = { runtime, counters: slab, proxy: new SipProxy(runtime, output, slab), byHandle: [] };
        return { type: 'prepared', etag: plan.etag, ports };
      } catch (error) {
        await sockets.abort();
        return { type: 'failed', etag: plan.etag, reason: (error as Error).message };
      }
    }
    case 'commit': {
      running?.counters.takeTransport(counts);
      running = next!;
      for (const listener of running.runtime.listeners) running.byHandle[sockets.nextHandle(listener.index)] = listener;
      await sockets.commit();
      return { type: 'committed', etag: message.etag };
    }
    case 'abort':
      await sockets.abort();
      return undefined;
    case 'close':
      clearInterval(tick);
      mail.close();
      await Promise.all([udp.close(), streams.close()]);
      return { type: 'closed' };
  }
}
let next: Running | undefined;

/** Commands one after the other, in the order in which they came. */
let queue: Promise<unknown> = Promise.resolve();
port.on('message', (message: WorkerCommand) => {
  queue = queue.then(async () => {
    const event = await command(message);
    if (event) port.postMessage(event);
    if (message.type === 'close') port.close();
  });
});
port.postMessage({ type: 'ready' } satisfies WorkerEvent);
