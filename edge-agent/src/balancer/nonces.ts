import { finish, hash32, MIX_SEED, mix } from '../sip/hash.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { address, nextAddress } from '../sip/uri.ts';
import { BackendIds } from './backend-ids.ts';

/** How many challenges are remembered per farm; a newer one may push out an older one, which then is only challenged again. */
const SLOTS = 1 << 15;
/** Check word, id of the backend + 1, and the second until which it counts. */
const WIDTH = 3;
/** RFC 3261 Timer B: a phone answers at once, or after somebody has typed a password. */
const REMEMBER_SECONDS = 32;

/** Shared memory of one farm's {@link Nonces}, over every plan: the worker that saw the challenge need not be the one that sees the answer. */
export const createNonces = (): SharedArrayBuffer =>
  new SharedArrayBuffer(SLOTS * WIDTH * Int32Array.BYTES_PER_ELEMENT);

const WORD = [...'nonce'].map((c) => c.charCodeAt(0));
/** Where {@link findNonce} found it. */
const nonce = { slot: 0, check: 0 };

/**
 * Which backend made a challenge. An authenticated retry (RFC 3261 §22) that meets another PBX finds its nonce unknown there and is
 * challenged once more, some phones for ever. Only a retry of what was challenged, by its To: phones use a nonce again for whatever they ask next
 * (RFC 3261 §22.3), and that goes where it belongs.
 */
export class Nonces {
  readonly #table: Int32Array;
  readonly #backends: BackendIds;

  constructor(memory: SharedArrayBuffer, backends: readonly { id: number }[]) {
    this.#table = new Int32Array(memory);
    this.#backends = new BackendIds(backends);
  }

  /** Takes note of the challenges of a 401 or 407. `now` in seconds. */
  learn(response: MessageView, backend: number, now: number): void {
    for (let line = 0; line < response.headerCount; line++) {
      const code = response.code[line];
      if (code !== HEADER.wwwAuthenticate && code !== HEADER.proxyAuthenticate) continue;
      if (!findNonce(response, line)) continue;
      this.#table[nonce.slot * WIDTH] = nonce.check;
      this.#table[nonce.slot * WIDTH + 1] = this.#backends.wordOf(backend);
      this.#table[nonce.slot * WIDTH + 2] = now + REMEMBER_SECONDS;
    }
  }

  /** The backend whose challenge the request answers, −1 where it answers none that is known. `now` in seconds. */
  find(request: MessageView, now: number): number {
    const first = request.first[HEADER.authorization]!;
    const line = first >= 0 ? first : request.first[HEADER.proxyAuthorization]!;
    if (line < 0 || !findNonce(request, line)) return -1;
    const table = this.#table;
    const at = nonce.slot * WIDTH;
    if (table[at] !== nonce.check || ((table[at + 2]! - now) | 0) <= 0) return -1;
    return this.#backends.indexOf(table[at + 1]!);
  }
}

/** Hash of To's URI: a response has that of its request. */
function toHash(message: MessageView): number {
  const line = message.first[HEADER.to]!;
  return nextAddress(message.bytes, message.valueStart[line]!, message.valueEnd[line]!)
    ? hash32(message.bytes, address.uriStart, address.uriEnd)
    : 0;
}

/** Hashes the nonce parameter of an authentication header line, and for whom it is. False where it has none. */
function findNonce(message: MessageView, line: number): boolean {
  const { bytes } = message;
  const end = message.valueEnd[line]!;
  for (let i = message.valueStart[line]! + 1; i + 7 < end; i++) {
    // A parameter's name stands behind a blank or a comma; `cnonce` does not match.
    if (bytes[i - 1]! > 32 && bytes[i - 1] !== 44) continue;
    let k = 0;
    while (k < 5 && (bytes[i + k]! | 32) === WORD[k]) k++;
    if (k < 5 || bytes[i + 5] !== 61 || bytes[i + 6] !== 34) continue;
    let a = MIX_SEED;
    let b = 0x2545f491;
    let at = i + 7;
    for (; at < end && bytes[at] !== 34; at++) {
      a = mix(a, bytes[at]!);
      b = mix(b, bytes[at]! ^ 0x5a);
    }
    if (at === i + 7 || at === end) return false;
    // A PBX may challenge all requests of one second with the same nonce.
    const to = toHash(message);
    nonce.slot = finish(a ^ to) & (SLOTS - 1);
    nonce.check = finish(b ^ to) | 0;
    return true;
  }
  return false;
}
