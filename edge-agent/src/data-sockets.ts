import type { Plan } from './plan.ts';
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
  #current: Open[] = [];
  #next: Open[] = [];

  constructor(udp: UdpTransport, streams: StreamTransport) {
    this.#udp = udp;
    this.#streams = streams;
  }

  /** Binds what the plan needs and is not bound yet. Returns the ports in the order of its listeners. Rejects with AgentError LISTEN. */
  async prepare(plan: Plan): Promise<number[]> {
    this.#next = [];
    for (const l of plan.listeners) {
      const key = `${l.transport}/${l.address}/${l.port}`;
      const open = this.#open.get(key) ?? (await this.#bind(l.transport === TRANSPORT.udp, l.address, l.port));
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
    await this.#closeAllBut(this.#current);
  }

  /** Closes what `prepare` bound in vain. */
  async abort(): Promise<void> {
    this.#next = [];
    await this.#closeAllBut(this.#current);
  }

  udp(listener: number): UdpSocket | undefined {
    return this.#current[listener]?.udp;
  }

  handle(listener: number): number {
    return this.#current[listener]!.handle;
  }

  async #bind(udp: boolean, address: string, port: number): Promise<Open> {
    const handle = this.#handles++;
    if (udp) return { handle, udp: await this.#udp.open(address, port, handle), stream: undefined };
    return { handle, udp: undefined, stream: await this.#streams.listen(address, port, handle) };
  }

  async #closeAllBut(kept: readonly Open[]): Promise<void> {
    for (const [key, open] of this.#open) {
      if (kept.includes(open)) continue;
      this.#open.delete(key);
      await (open.udp ?? open.stream)!.close();
    }
  }
}
