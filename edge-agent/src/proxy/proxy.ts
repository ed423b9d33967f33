import { type Endpoint, TRANSPORT } from '../ports.ts';
import { HEADER } from '../sip/header.ts';
import { PARSE } from '../sip/message.ts';
import { DROP } from '../telemetry/slab.ts';
import {
  type CallEvents,
  type Context,
  type Counters,
  createContext,
  type MessageTape,
  NO_EVENTS,
  noTape,
  type Output,
} from './context.ts';
import { obey, unreachable } from './dead.ts';
import type { Exchanges } from './exchange.ts';
import { callOf, record } from './observe.ts';
import { Overload } from './overload.ts';
import { reply } from './reply.ts';
import { handleRequest, refusedAtOnce } from './request.ts';
import { handleResponse, passResponse } from './response.ts';
import type { Runtime } from './runtime.ts';
import { onTimer } from './stateful.ts';
import { answerBinding, isBindingRequest } from './stun.ts';

const MAX_VIA_LINES = 64;

/**
 * One data thread's proxy: bytes in, bytes out. What it keeps between messages, the exchanges under way, makes calls faster to set up and
 * to fail over; a message that belongs to none is forwarded by what it carries, so that any agent can go on where another one stopped.
 */
export class SipProxy {
  readonly #context: Context;

  /** `exchanges` outlive a plan: what began under the one before is ended by this one. Without, every message is forwarded statelessly. */
  constructor(
    runtime: Runtime,
    output: Output,
    counters: Counters,
    exchanges?: Exchanges,
    events: CallEvents = NO_EVENTS,
    tape: MessageTape = noTape(),
    overload: Overload = new Overload(),
  ) {
    this.#context = createContext(runtime, output, counters, exchanges, events, tape, overload);
  }

  /** A connection to `to` could not be opened (`refused`), or has ended. */
  unreachable(to: Readonly<Endpoint>, refused: boolean): void {
    unreachable(this.#context, to, refused);
  }

  /** Carries out what the control thread ordered, and fires the transaction timers that are due. */
  advance(): void {
    const ctx = this.#context;
    obey(ctx);
    ctx.exchanges?.advance(ctx.output.now(), (exchange, timer) => onTimer(ctx, exchange, timer));
  }

  /** Handles a response that another worker received and that names this one as the keeper of its exchange. */
  handleHandedOver(bytes: Uint8Array, start: number, end: number, from: Endpoint, listener: number): void {
    const ctx = this.#context;
    const { message, runtime } = ctx;
    if (message.parse(bytes, start, end) !== PARSE.ok || message.isRequest) return ctx.counters.drop(DROP.internal);
    // The worker that received it has it on its tape.
    ctx.tape.call = callOf(message);
    passResponse(ctx, from, runtime.listeners[listener]!, true);
  }

  /** Handles one whole message. `bytes[start, end)` may be changed in place. */
  handle(bytes: Uint8Array, start: number, end: number, from: Endpoint, listener: number): void {
    const ctx = this.#context;
    const { message, counters } = ctx;
    const incoming = ctx.runtime.listeners[listener]!;
    if (bytes[start] === 0 && isBindingRequest(bytes, start, end) && incoming.plan.transport === TRANSPORT.udp) {
      answerBinding(bytes, start, from, ctx.output.arena(), ctx.splice);
      counters.drop(DROP.keepalive);
      return ctx.output.datagram(incoming, from, ctx.splice);
    }
    // Keepalives of phones: CRLFs, a NUL, a few blanks (RFC 5626 §3.5.1 and what came before it).
    if (end - start < 16 || bytes[start]! <= 32) return counters.drop(DROP.keepalive);
    const error = message.parse(bytes, start, end);
    if (ctx.overload.share > 0 && error === PARSE.ok && message.isRequest && refusedAtOnce(ctx, from, incoming)) return;
    record(ctx, bytes, start, end, from, listener);
    if (error !== PARSE.ok) {
      // What can be answered at all is told so; the rest is noise. Responses are never answered.
      const answerable = message.isRequest && error >= PARSE.contentLength;
      counters.drop(DROP.malformed);
      if (message.times[HEADER.via]! > MAX_VIA_LINES) return;
      if (answerable && message.first[HEADER.via]! >= 0)
        reply(ctx, from, incoming, error === PARSE.version ? 505 : 400);
      return;
    }
    // Max-Forwards starts at 70: nothing honest has come so far. More would not fit into an answer's fixed number of pieces.
    if (message.times[HEADER.via]! > MAX_VIA_LINES) return counters.drop(DROP.malformed);
    if (message.isRequest) handleRequest(ctx, from, incoming);
    else handleResponse(ctx, from, incoming);
  }
}
