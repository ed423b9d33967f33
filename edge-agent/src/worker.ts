import { performance } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import { DataThreadSockets } from './data-sockets.ts';
import type { Plan } from './plan.ts';
import type { Endpoint, Segments, WorkerCommand, WorkerEvent, WorkerStart } from './ports.ts';
import { takePrecedence } from './precedence.ts';
import type { Output } from './proxy/context.ts';
import { Exchanges } from './proxy/exchange.ts';
import { Flows } from './proxy/flows.ts';
import { Overload } from './proxy/overload.ts';
import { Peers } from './proxy/peers.ts';
import { SipProxy } from './proxy/proxy.ts';

import { buildRuntime, type Listener, type Runtime } from './proxy/runtime.ts';
import { SlabCounters } from './telemetry/counters.ts';
import { createEventRing, EventRings, EventWriter, monotonic } from './telemetry/events.ts';
import { DROP } from './telemetry/slab.ts';
import { createTape, TapeWriter } from './telemetry/tape.ts';
import { layoutOf } from './telemetry/totals.ts';
import { createCounts } from './transport/counts.ts';
import { openMailbox } from './transport/mailbox.ts';
import { OpenConnections } from './transport/open-connections.ts';
import { type Letters, Post } from './transport/post.ts';
import { createStreamTransport } from './transport/streams.ts';
import { createUdpTransport } from './transport/udp/index.ts';
import { type Played, playCalls } from './warm-up/play.ts';
import { Cast, unplaced } from './warm-up/stage.ts';

/**
 * A data thread. The path of a message, top to bottom:
 *
 *   transport/udp, transport/streams (framed by sip/framer)   a whole message and where it came from
 *   → receive()                                           counted, given its listener of the running plan
 *   → proxy/proxy.ts                                      parsed as far as needed (sip/message)
 *   → proxy/request.ts                                    validated, own Routes taken, token or affinity → target
 *     or proxy/response.ts                                its exchange (of another worker: handed over), or our Via taken off → target
 *   → proxy/forward.ts                                    edits: Via, Record-Route or Path, Max-Forwards, received
 *   → output below                                        the listener's socket, a connection, or another worker's mailbox
 */
const start = workerData as WorkerStart;
const port = parentPort!;
takePrecedence();

/** Room that one message's edits may need in the arena: two Record-Routes, Path, Via, and a local response's headers. */
const EDIT_ROOM = 4096;
/** Slow enough to cost nothing, fast enough for second-grained clocks and counters. */
const TICK_MS = 250;
/** Somewhat finer than the wheel's ticks would be wasted. */
const TIMER_MS = 10;

/** What outlives a plan. */
interface Memory {
  events: EventWriter;
  /** Undefined: nothing is recorded. */
  tape: TapeWriter | undefined;
  overload: Overload;
  /** Made for the first plan that keeps transactions: without one its tables would be memory for nothing. */
  exchanges: Exchanges | undefined;
}

interface Running extends Memory {
  runtime: Runtime;
  proxy: SipProxy;
  /** Names the plan in events. */
  serial: number;
  counters: SlabCounters;
  /** Listener of the plan by socket handle, and by mark. */
  byHandle: (Listener | undefined)[];
  byMark: Map<number, Listener>;
}

const open = new OpenConnections(start.openConnections);
open.clear(start.index);
const counts = createCounts();
const udp = createUdpTransport({ kind: start.datapath, handler: receive, counts, onBatchEnd, onWaited });
const streams = createStreamTransport({
  kind: start.datapath,
  handler: receive,
  counts,
  seed: start.seed,
  onOpened: (connection) => open.opened(start.index, connection),
  onClosed: (connection) => open.closed(start.index, connection),
  onUnreachable: (to, _listener, refused) => lost({ ...to }, refused),
  // Datagrams that stream messages caused have no received UDP batch to leave with.
  onBatchEnd: afterOthers,
});
const mail = openMailbox(start.mailboxes, start.workers, start.index, afterOthers);
const post = new Post(mail);
const sockets = new DataThreadSockets(udp, streams);
/** Requests under way at once, per data thread: some 2 KB each beside the messages that are kept, which have a limit of their own. */
const MAX_TRANSACTIONS = 50_000;
const MAX_KEPT_BYTES = 256 << 20;
const memory: Memory = {
  events: new EventWriter(start.events),
  tape: start.tape.byteLength > 0 ? new TapeWriter(start.tape, monotonic) : undefined,
  overload: new Overload(),
  exchanges: undefined,
};
let running: Running | undefined;
let seconds = Math.floor(Date.now() / 1000);

function receive(bytes: Uint8Array, from: number, to: number, source: Endpoint, handle: number): void {
  const now = running;
  const listener = now?.byHandle[handle];
  if (now === undefined || listener === undefined) return;
  now.counters.received(listener.index, to - from);
  if (timers === undefined && now.exchanges?.waiting) timers = setInterval(fireTimers, TIMER_MS);
  try {
    now.proxy.handle(bytes, from, to, source, listener.index);
  } catch (error) {
    failed(error as Error);
  }
}

/** A fault of ours costs one message, never the thread with its connections. */
function failed(error: Error): void {
  running?.counters.drop(DROP.internal);
  complain(error);
}

/** Runs while some transaction waits for something. */
function fireTimers(): void {
  try {
    running?.proxy.advance();
  } catch (error) {
    failed(error as Error);
  }
  udp.flush();
  if (running?.exchanges?.waiting) return;
  clearInterval(timers);
  timers = undefined;
}
let timers: NodeJS.Timeout | undefined;

/** At most one a second: what crafted messages can cause must not fill a disk. */
function complain(error: Error): void {
  if (seconds === complainedAt) return;
  complainedAt = seconds;
  port.postMessage({ type: 'fault', reason: error.stack ?? error.message } satisfies WorkerEvent);
}
let complainedAt = 0;

/** Not at once: the connection may have ended in the middle of handling a message. */
function lost(to: Endpoint, refused: boolean): void {
  setImmediate(() => {
    try {
      running?.proxy.unreachable(to, refused);
    } catch (error) {
      failed(error as Error);
    }
    udp.flush();
  });
}

function onWaited(milliseconds: number, dropped: number): void {
  running?.overload.waited(performance.now(), milliseconds, dropped);
}

let batches = 0;
function onBatchEnd(): void {
  batches++;
  openLetters();
}

/** What other data threads want: mostly between two batches of our own, woken for it where none comes. */
function openLetters(): void {
  post.drain(letters);
}

/** Outside of a received UDP batch nobody else sends what was queued. */
function afterOthers(): void {
  openLetters();
  udp.flush();
}

const letters: Letters = {
  send(to, message) {
    if (!sendHere(to, message)) running?.counters.drop(DROP.unknown_flow);
  },
  receive(bytes, from, to, source, mark) {
    const listener = running?.byMark.get(mark);
    // The listener went with a plan between two threads' commits.
    if (listener === undefined) return running?.counters.drop(DROP.no_route);
    try {
      running?.proxy.handleHandedOver(bytes, from, to, source, listener.index);
    } catch (error) {
      failed(error as Error);
    }
  },
};

const output: Output = {
  arena() {
    if (udp.arena.used + EDIT_ROOM > udp.arena.bytes.length) udp.flush();
    return udp.arena;
  },
  datagram(listener, to, message) {
    told(listener, to, message, sockets.udp(listener.handle)?.send(to, message));
  },
  stream(listener, worker, to, message) {
    const { counters } = running!;
    if (worker !== start.index) {
      if (worker >= start.workers) return false;
      // Its own reason, and so no "unknown flow" besides: the connection may well be there.
      if (post.send(worker, to, message)) told(listener, to, message);
      else counters.drop(DROP.mailbox_full);
      return true;
    }
    const sent = sendHere(to, message);
    if (sent) told(listener, to, message);
    return sent;
  },
  dial(listener, to, message) {
    const sent = streams.sendTo(to, message, listener.plan.address, listener.handle);
    if (sent) told(listener, to, message);
    return sent;
  },
  cut(farm, backend) {
    streams.closeWhere(
      (remote, handle) => running!.byHandle[handle]?.farm === farm && farm.sources.find(remote) === backend,
    );
  },
  handOver(worker, listener, from, bytes, start, end) {
    if (!post.handOver(worker, from, listener.mark, bytes, start, end)) running!.counters.drop(DROP.mailbox_full);
  },
  flows: new Flows(start.flows, (worker, connection) => open.has(worker, connection)),
  peers: new Peers(start.peers),
  isOpen: (worker, connection) => open.has(worker, connection),
  now: () => performance.now(),
  seconds: () => seconds,
};

/** A message that was queued to be sent: counted, and recorded. `at`: where it stands in one piece, see UdpSocket.send. */
function told(listener: Listener, to: Endpoint, message: Segments, at = -1): void {
  const { counters, tape } = running!;
  counters.sent(listener.index, message.length);
  if (at < 0) tape?.sent(to, message, listener.index);
  else tape?.sentWhole(to, udp.arena.bytes, at, at + message.length, listener.index);
}

function sendHere(to: Endpoint, message: Segments): boolean {
  if (to.port !== 0 && !streams.isPeer(to.connection, to)) return false;
  return streams.send(to.connection, message);
}

let tickedAt = performance.now();
const tick = setInterval(() => {
  seconds = Math.floor(Date.now() / 1000);
  const now = performance.now();
  running?.overload.tick(now, now - tickedAt - TICK_MS);
  tickedAt = now;
  takeCounts();
  // With no transaction under way the timers rest, and connections may be there all the same.
  if (timers === undefined) fireTimers();
}, TICK_MS);

/** Milliseconds that this thread has not waited, as far as they are counted. */
let activeBefore = 0;

/** What the transports counted since the last time, into the counters of the running plan. */
function takeCounts(): void {
  if (!running) return;
  running.counters.takeTransport(counts);
  const active = performance.eventLoopUtilization().active - udp.waitedMs;
  running.counters.takeWork((active - activeBefore) / 1000, batches);
  activeBefore = active;
  batches = 0;
  running.counters.takeStates({
    transactions: running.exchanges?.size ?? 0,
    queuedBytes: streams.queuedBytes,
    overloaded: running.overload.share > 0 ? 1 : 0,
  });
  for (const { index } of running.runtime.listeners) {
    const stream = sockets.stream(index);
    if (stream) running.counters.takeConnections(index, stream.connections, stream.connectionCounts);
  }
}

function assemble(plan: Plan, counters: SharedArrayBuffer, serial: number, kept: Memory): Running {
  const runtime = buildRuntime(plan, start.index, start.workers);
  const slab = new SlabCounters(plan, counters);
  const { exchanges, events, tape, overload } = kept;
  const proxy = new SipProxy(runtime, output, slab, exchanges, events, tape, overload);
  const byMark = new Map(runtime.listeners.map((l) => [l.mark, l]));
  return { ...kept, runtime, counters: slab, proxy, serial, byHandle: [], byMark };
}

/** Puts what was prepared into effect, sockets included. */
async function enter(next: Running): Promise<void> {
  running = next;
  const { events, tape, serial, counters, runtime, byHandle } = next;
  events.plan = serial;
  if (tape) tape.plan = serial;
  counters.takeTransport(counts);
  for (const listener of runtime.listeners) {
    listener.handle = sockets.nextHandle(listener.index);
    byHandle[listener.handle] = listener;
  }
  await sockets.commit();
}

async function command(message: WorkerCommand): Promise<WorkerEvent | undefined> {
  switch (message.type) {
    case 'prepare': {
      const { plan, counters, serial } = message;
      try {
        const ports = await sockets.prepare(plan);
        if (plan.farms.some((farm) => farm.stateful))
          memory.exchanges ??= new Exchanges(MAX_TRANSACTIONS, performance.now(), MAX_KEPT_BYTES);
        next = assemble(plan, counters, serial, memory);
        return { type: 'prepared', etag: plan.etag, ports };
      } catch (error) {
        await sockets.abort();
        return { type: 'failed', etag: plan.etag, reason: (error as Error).message };
      }
    }
    case 'commit': {
      takeCounts();
      await enter(next!);
      takeCounts();
      return { type: 'committed', etag: message.etag };
    }
    case 'abort':
      await sockets.abort();
      return undefined;
    case 'close':
      clearInterval(tick);
      clearInterval(timers);
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

const WARM_UP = { calls: 3000, milliseconds: 1500, transactions: 4096, records: 4096, tapeBytes: 1 << 20 };

/**
 * Plays calls through this thread before it serves. What V8 has not seen it interprets, while calls wait; and what it has compiled without having seen
 * some way through it, it throws away when that way is taken: a thread that has to refuse for the first time would do so when it has the least time for it.
 * Nothing is left of it but the code.
 */
async function warmUp(plan: Plan): Promise<Played> {
  const cast = await Cast.open();
  try {
    const ports = await sockets.prepare(unplaced(plan));
    const placed = cast.placed(plan, ports);
    const ring = createEventRing(WARM_UP.records);
    const rings = new EventRings([ring]);
    const overload = new Overload();
    const memory: Memory = {
      events: new EventWriter(ring),
      tape: start.tape.byteLength > 0 ? new TapeWriter(createTape(WARM_UP.tapeBytes), monotonic) : undefined,
      overload,
      exchanges: new Exchanges(WARM_UP.transactions, performance.now()),
    };
    await enter(assemble(placed, new SharedArrayBuffer(layoutOf(placed).bytes), 0, memory));
    const stage = {
      ports,
      phones: cast.phones,
      pbxs: cast.pbxs,
      overload(share: number) {
        overload.share = Math.min(1, share);
        overload.hopeless = share > 1;
        // Else the ring would be full, and nothing written any more.
        rings.drain(() => {});
      },
    };
    return await playCalls(stage, WARM_UP.calls, WARM_UP.milliseconds);
  } finally {
    running = undefined;
    await sockets.prepare({ ...plan, listeners: [] });
    await sockets.commit();
    cast.close();
  }
}

const played = start.warmUp && (await warmUp(start.warmUp).catch((error: Error) => error.message));
port.postMessage({ type: 'ready', ...(played !== undefined && { played }) } satisfies WorkerEvent);
