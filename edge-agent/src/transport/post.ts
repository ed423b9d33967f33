import { type Endpoint, type Mailbox, type Segments, TRANSPORT, type TransportCode } from '../ports.ts';
import { Splice } from '../sip/splice.ts';
import { createEndpoint } from './endpoint.ts';

/** Four words of address, one of transport and port, and the mark of a listener. */
const HEADER = 24;
/** Longer than any message that a socket brings. */
const LONGEST = 128 << 10;
/** Where a letter to be sent has a listener's mark otherwise. */
const TO_BE_SENT = 0;

/** What becomes of letters. */
export interface Letters {
  /** To be sent on the connection that `to` names. */
  send(to: Endpoint, message: Segments): void;
  /** Received by another thread, from `from` by the listener with this mark. `bytes` may be written until it returns. */
  receive(bytes: Uint8Array, start: number, end: number, from: Endpoint, mark: number): void;
}

/**
 * Letters between data threads: messages to be sent on a connection that another thread has, and responses to transactions that another
 * thread keeps. In front of each stands the remote end that it is about.
 */
export class Post {
  readonly #mailbox: Mailbox;
  readonly #header = new Uint8Array(HEADER);
  readonly #words = new Uint32Array(this.#header.buffer);
  readonly #letter = new Splice();
  readonly #openedHeader = new Uint8Array(HEADER);
  readonly #openedWords = new Uint32Array(this.#openedHeader.buffer);
  readonly #endpoint = createEndpoint(TRANSPORT.tcp);
  /** Received messages are handed on from here, as memory that is not shared; made for the first. */
  #text: Uint8Array | undefined;

  constructor(mailbox: Mailbox) {
    this.#mailbox = mailbox;
  }

  /** Has `worker` send on its connection `to.connection`. False: its box is full. */
  send(worker: number, to: Readonly<Endpoint>, message: Segments): boolean {
    this.#address(to, TO_BE_SENT);
    for (let i = 0; i < message.count; i++) this.#letter.add(message.bytes[i]!, message.start[i]!, message.end[i]!);
    return this.#mailbox.post(worker, to.connection, this.#letter);
  }

  /** Hands `worker` what came from `from` by the listener marked `mark` (not 0). False: its box is full. */
  handOver(
    worker: number,
    from: Readonly<Endpoint>,
    mark: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    this.#address(from, mark);
    this.#letter.add(bytes, start, end);
    return this.#mailbox.post(worker, from.connection, this.#letter);
  }

  /** Opens what has arrived. */
  drain(letters: Letters): void {
    this.#mailbox.drain((connection, bytes, start, end) => {
      const endpoint = this.#endpoint;
      for (let i = 0; i < HEADER; i++) this.#openedHeader[i] = bytes[start + i]!;
      const words = this.#openedWords;
      endpoint.ip0 = words[0]!;
      endpoint.ip1 = words[1]!;
      endpoint.ip2 = words[2]!;
      endpoint.ip3 = words[3]!;
      endpoint.port = words[4]! & 0xffff;
      endpoint.transport = (words[4]! >>> 16) as TransportCode;
      endpoint.connection = connection;
      const mark = words[5]!;
      const at = start + HEADER;
      if (mark === TO_BE_SENT) {
        this.#letter.reset();
        this.#letter.add(bytes, at, end);
        return letters.send(endpoint, this.#letter);
      }
      this.#text ??= new Uint8Array(LONGEST);
      this.#text.set(bytes.subarray(at, end));
      letters.receive(this.#text, 0, end - at, endpoint, mark);
    });
  }

  #address(endpoint: Readonly<Endpoint>, mark: number): void {
    const words = this.#words;
    words[0] = endpoint.ip0;
    words[1] = endpoint.ip1;
    words[2] = endpoint.ip2;
    words[3] = endpoint.ip3;
    words[4] = (endpoint.transport << 16) | endpoint.port;
    words[5] = mark;
    this.#letter.reset();
    this.#letter.add(this.#header, 0, HEADER);
  }
}
