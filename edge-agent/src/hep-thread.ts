import { parentPort, workerData } from 'node:worker_threads';
import { giveWay } from './precedence.ts';
import { HepCounts } from './telemetry/hep/counts.ts';
import { HepFeed } from './telemetry/hep/feed.ts';
import type { HepCommand, HepEvent, HepStart } from './telemetry/hep/hep.ts';
import { HepEncoder } from './telemetry/hep/packet.ts';
import { HepServer } from './telemetry/hep/server.ts';
import { createRedactor } from './telemetry/recorder/redact.ts';

/** The thread that copies what is on the tapes to a HEP server. Wires telemetry/hep; there is no other work on it. */
const start = workerData as HepStart;
const port = parentPort!;
giveWay();

/** How often the tapes are looked at. */
const LOOK_MS = 20;

const counts = new HepCounts(start.counts);
const tell = (event: HepEvent): void => port.postMessage(event);
const server = new HepServer(start.address, {
  sent: () => counts.add('sent'),
  failed: () => counts.add('send_failed'),
  changed: (open, reason) => {
    counts.set('open', open ? 1 : 0);
    tell({ type: 'way', open, ...(reason !== undefined && { reason }) });
  },
});
const feed = new HepFeed({
  tapes: start.tapes,
  encoder: new HepEncoder(start.identity),
  sink: server,
  redact: createRedactor(start.redaction),
  lost: (reason, messages) => counts.add(reason, messages),
});

let again: NodeJS.Immediate | undefined;
/** What a turn leaves is taken in the next one, so that commands and sockets have theirs. */
function look(): void {
  again = undefined;
  if (feed.pump()) again = setImmediate(look);
}
const timer = setInterval(() => {
  if (again === undefined) look();
}, LOOK_MS);

port.on('message', (command: HepCommand) => {
  switch (command.type) {
    case 'plan':
      return feed.use(command.listeners, command.serial);
    case 'probe':
      counts.add('probes');
      if (!feed.probe(command.message)) counts.add('busy');
      return;
    case 'close':
      clearInterval(timer);
      clearImmediate(again);
      feed.pump();
      server.close();
      port.close();
  }
});
