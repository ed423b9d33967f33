import type { ListenerPlan, Plan } from './plan.ts';
import { type StreamListener, type StreamTransport, TRANSPORT, type UdpSocket, type UdpTransport } from './ports.ts';

interface Open {
  /** Names this socket to the transports for as long as it is open, whatever number the plan gives its listener. */
  handle: number;
  udp: UdpSocket | undefined;
  stream: StreamListener | undefined;
}

/**
 * The sockets of one data thread over changes of plan: what the old and the new one share stays open and loses nothing,
 * what is new is bound before anything is switched, what is gone is closed after.
 */
export class DataThreadSockets {
  readonly #udp: UdpTransport;
  readonly #streams: StreamTransport;
  readonly #open = new Map<string, Open>();
  #handles = 0;
  readonly #byHandle: (UdpSocket | undefined)[] = [];
  #current: Open[] = [];
  #next: Open[] = [];
  /** Puts what changes about sockets that stay open into effect. */
  #renewals: (() => void)[] = [];

  constructor(udp: UdpTransport, streams: StreamTransport) {
    this.#udp = udp;
    this.#streams = streams;
  }

  /**
   * Binds what the plan needs and is not bound yet, and makes new certificates and limits ready for what is.
   * Returns the ports in the order of its listeners. Rejects with AgentError LISTEN.
   */
  async prepare(plan: Plan): Promise<number[]> {
    this.#next = [];
    this.#renewals = [];
    for (const l of plan.listeners) {
      const key = `${l.transport}/${l.address}/${l.port}`;
      const known = this.#open.get(key);
      if (known?.stream && l.stream) this.#renewals.push(known.stream.renew(l.stream));
      const open = known ?? (await this.#bind(l));
      this.#open.set(key, open);
      this.#next.push(open);
    }
    return this.#next.map((o) => (o.udp ?? o.stream)!.port);
  }

  /** Handle of a listener of the prepared plan. */
  nextHandle(listener: number): number {
    return this.#next[listener]!.handle;
  }

  /** The prepared sockets become the current ones; those that no listener needs any more are closed. */
  async commit(): Promise<void> {
    this.#current = this.#next;
    for (const renew of this.#renewals.splice(0)) renew();
    await this.#closeAllBut(this.#current);
  }

  /** Closes what `prepare` bound in vain. */
  async abort(): Promise<void> {
    this.#next = [];
    this.#renewals = [];
    await this.#closeAllBut(this.#current);
  }

  /** The UDP socket with this handle, undefined once it is closed. */
  udp(handle: number): UdpSocket | undefined {
    return this.#byHandle[handle];
  }

  stream(listener: number): StreamListener | undefined {
    return this.#current[listener]?.stream;
  }

  async #bind({ transport, address, port, stream }: ListenerPlan): Promise<Open> {
    const handle = this.#handles++;
    if (transport === TRANSPORT.udp) {
      const udp = await this.#udp.open(address, port, handle);
      this.#byHandle[handle] = udp;
      return { handle, udp, stream: undefined };
    }
    return { handle, udp: undefined, stream: await this.#streams.listen(address, port, handle, stream) };
  }

  async #closeAllBut(kept: readonly Open[]): Promise<void> {
    for (const [key, open] of this.#open) {
      if (kept.includes(open)) continue;
      this.#open.delete(key);
      this.#byHandle[open.handle] = undefined;
      await (open.udp ?? open.stream)!.close();
    }
  }
}
