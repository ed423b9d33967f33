import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { frame, upgrade, wrongFrames } from './frames.ts';
import { PROXY_HEADERS } from './messages.ts';
import { mutate } from './mutate.ts';
import type { Random } from './random.ts';

/** Ways to an agent's stream listeners; `proxied` ones want a PROXY header first. */
export const STREAMS = ['tcp', 'tls', 'ws', 'wss', 'proxied tcp', 'proxied tls'] as const;
export type StreamName = (typeof STREAMS)[number];

/** A connection on which the agent waits for the rest is given up after this. */
const PATIENCE_MS = 300;

/** What a client writes after it has connected, in order: before TLS, to be answered, and after. Latin-1. */
export interface Script {
  clear: string;
  asks: string;
  says: string;
}

/** How a mutated message comes to a listener; here and there what it is wrapped in is changed as well. */
export function scriptFor(name: StreamName, random: Random, text: string): Script {
  if (name === 'ws' || name === 'wss') {
    const asks = upgrade('127.0.0.1');
    if (random.oneIn(8)) return { clear: '', asks: mutate(random, [asks]), says: frame(random, text) };
    return { clear: '', asks, says: random.oneIn(2) ? wrongFrames(random, text) : frame(random, text) };
  }
  if (name === 'tcp' || name === 'tls') return { clear: random.oneIn(10) ? text : '', asks: '', says: text };
  const header = random.oneIn(4) ? random.pick(PROXY_HEADERS) : mutate(random, PROXY_HEADERS);
  return { clear: header, asks: '', says: text };
}

/** Plays a script on a connection of its own. Resolves when that is closed, at the latest by us after a while. */
export async function play(name: StreamName, to: { address: string; port: number }, script: Script): Promise<void> {
  const clear = connect(to.port, to.address);
  let socket: Socket = clear;
  const timer = setTimeout(() => clear.destroy(), PATIENCE_MS);
  clear.on('error', () => {}).on('close', () => socket.destroy());
  const closed = new Promise((resolve) => clear.once('close', resolve));
  clear.once('connect', () => {
    if (script.clear !== '') clear.write(Buffer.from(script.clear, 'latin1'));
    if (/tls|wss/.test(name)) {
      // No certificate is looked at: what is asked is whether the agent bears it.
      socket = connectTls({ socket: clear, rejectUnauthorized: false });
      socket.on('error', () => clear.destroy()).once('secureConnect', () => speak(socket, script));
    } else speak(socket, script);
  });
  await closed;
  clearTimeout(timer);
}

function speak(socket: Socket, { asks, says }: Script): void {
  const say = () => socket.end(Buffer.from(says, 'latin1'));
  if (asks === '') say();
  else {
    socket.write(Buffer.from(asks, 'latin1'));
    socket.once('data', say);
  }
  socket.resume();
}
