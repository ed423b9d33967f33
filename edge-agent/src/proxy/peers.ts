import type { Endpoint } from '../ports.ts';
import { wordsOf } from '../sip/host.ts';

/** Agents of one site. More are ignored: none is lost but the shortcut to the clients that are connected to them. */
const MOST = 64;
/** Agent number and address words. */
const WIDTH = 5;
const COUNT_AT = MOST * WIDTH;

/** Another agent of the site, by its number in tokens and its own address. */
export interface Peer {
  number: number;
  address: string;
}

/** Shared memory of one agent's {@link Peers}. */
export const createPeers = (): SharedArrayBuffer =>
  new SharedArrayBuffer((COUNT_AT + 1) * Uint32Array.BYTES_PER_ELEMENT);

/**
 * The other agents of the site, written by the control thread, read by all data threads. A reader that meets a change sees an entry half
 * written at worst: one request then goes astray, as it would had the change come a moment later.
 */
export class Peers {
  readonly #words: Uint32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Uint32Array(memory);
  }

  replace(peers: readonly Peer[]): void {
    Atomics.store(this.#words, COUNT_AT, 0);
    const known = peers.flatMap(({ number, address }) => {
      const ip = wordsOf(address);
      return ip ? [[number, ...ip]] : [];
    });
    for (const [i, entry] of known.slice(0, MOST).entries()) this.#words.set(entry, i * WIDTH);
    Atomics.store(this.#words, COUNT_AT, Math.min(MOST, known.length));
  }

  /** Writes the address of an agent. False where it is not known. */
  find(number: number, to: Endpoint): boolean {
    const words = this.#words;
    const count = Atomics.load(words, COUNT_AT);
    for (let at = 0; at < count * WIDTH; at += WIDTH) {
      if (words[at] !== number) continue;
      to.ip0 = words[at + 1]!;
      to.ip1 = words[at + 2]!;
      to.ip2 = words[at + 3]!;
      to.ip3 = words[at + 4]!;
      return true;
    }
    return false;
  }

  /** One of them has this address. */
  has(from: Readonly<Endpoint>): boolean {
    const words = this.#words;
    const count = Atomics.load(words, COUNT_AT);
    for (let at = 0; at < count * WIDTH; at += WIDTH) {
      if (words[at + 4] !== from.ip3 || words[at + 3] !== from.ip2) continue;
      if (words[at + 2] === from.ip1 && words[at + 1] === from.ip0) return true;
    }
    return false;
  }
}
