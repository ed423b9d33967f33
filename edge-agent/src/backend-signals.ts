import type { Logger } from 'pino';
import { Signals } from './balancer/signals.ts';
import type { PassiveSignal } from './health/passive.ts';
import type { Plan } from './plan.ts';
import type { Endpoint, TransportCode } from './ports.ts';
import { createEndpoint, endpointKey, setAddress } from './transport/endpoint.ts';
import { IcmpReader } from './transport/icmp.ts';
import { loadLibc } from './transport/libc.ts';

/** How often the data threads' counts are taken: soon enough for a verdict, and nothing in between waits for it. */
const TAKE_MS = 100;
/** A run of one kind longer than this tells health nothing more. */
const MOST_AT_ONCE = 10;

const AGAINST = { timeout: 'timeout', refused: 'refused', unavailable: '503' } as const;

export interface SignalTotal {
  farm: string;
  backend: string;
  signal: Exclude<PassiveSignal, 'answered'>;
  count: number;
}

export interface BackendSignalsOptions {
  /** What runs, with the ports that its listeners are really bound to. */
  running(): { plan: Plan | undefined; ports: readonly number[] };
  report(farm: string, backend: string, signal: PassiveSignal): void;
  log: Pick<Logger, 'info'>;
  /** False: ICMP is not read, whatever this process is allowed to do. */
  icmp: boolean;
}

/** The places of one plan: what ICMP messages name. */
interface Places {
  plan: Plan;
  listeners: Set<string>;
  backends: Map<string, { signals: Signals; farm: string; backend: string; index: number }[]>;
}

/** Brings what the data threads and ICMP tell about backends to health, and what ICMP tells to the data threads. */
export class BackendSignals {
  readonly #options: BackendSignalsOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #icmp: IcmpReader | undefined;
  readonly #totals = new Map<string, SignalTotal>();
  #places: Places | undefined;

  constructor(options: BackendSignalsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.take(), TAKE_MS).unref();
    this.#icmp = options.icmp ? this.#readIcmp() : undefined;
  }

  /** Counts since the process started, of the backends of the running plan. */
  totals(): SignalTotal[] {
    this.take();
    const named = new Set(
      this.#options.running().plan?.farms.flatMap((f) => f.backends.map((b) => `${f.name}/${b.name}`)),
    );
    for (const [key, { farm, backend }] of this.#totals) if (!named.has(`${farm}/${backend}`)) this.#totals.delete(key);
    return [...this.#totals.values()];
  }

  /** Takes the data threads' counts now. An answer within the time outweighs what was seen beside it. */
  take(): void {
    for (const farm of this.#options.running().plan?.farms ?? []) {
      const signals = new Signals(farm.signals);
      for (const [b, { name }] of farm.backends.entries()) {
        const answered = signals.take(b, 'answered') > 0;
        if (answered) this.#options.report(farm.name, name, 'answered');
        for (const seen of Object.keys(AGAINST) as (keyof typeof AGAINST)[])
          this.#saw(farm.name, name, AGAINST[seen], signals.take(b, seen), !answered);
      }
    }
  }

  /** Safe twice. */
  close(): void {
    clearInterval(this.#timer);
    this.#icmp?.close();
  }

  #saw(farm: string, backend: string, signal: SignalTotal['signal'], count: number, report: boolean): void {
    if (count === 0) return;
    const key = `${farm}/${backend}/${signal}`;
    const total = this.#totals.get(key) ?? { farm, backend, signal, count: 0 };
    total.count += count;
    this.#totals.set(key, total);
    for (let i = 0; report && i < Math.min(count, MOST_AT_ONCE); i++) this.#options.report(farm, backend, signal);
  }

  #readIcmp(): IcmpReader | undefined {
    const libc = loadLibc();
    try {
      if (!libc) throw new Error('no libc calls on this platform');
      return new IcmpReader(libc, (from, to) => this.#refused(from, to));
    } catch (error) {
      const reason = (error as Error).message;
      this.#options.log.info(
        { reason },
        'ICMP is not read (it takes CAP_NET_RAW): a UDP backend that is gone is found by its silence',
      );
      return undefined;
    }
  }

  /** Only about datagrams that left by one of our listeners: what else this host sends is no business of ours. */
  #refused(from: Readonly<Endpoint>, to: Readonly<Endpoint>): void {
    const places = this.#placesNow();
    if (!places?.listeners.has(endpointKey(from))) return;
    for (const { signals, farm, backend, index } of places.backends.get(endpointKey(to)) ?? []) {
      signals.order(index, 'refused');
      this.#saw(farm, backend, 'refused', 1, true);
    }
  }

  #placesNow(): Places | undefined {
    const { plan, ports } = this.#options.running();
    if (plan === undefined) return undefined;
    if (this.#places?.plan !== plan) this.#places = placesOf(plan, ports);
    return this.#places;
  }
}

function placesOf(plan: Plan, ports: readonly number[]): Places {
  const places: Places = { plan, listeners: new Set(), backends: new Map() };
  for (const [i, l] of plan.listeners.entries())
    places.listeners.add(placeKey(l.transport, l.address, ports[i] ?? l.port));
  for (const farm of plan.farms) {
    const signals = new Signals(farm.signals);
    for (const [index, b] of farm.backends.entries()) {
      const key = placeKey(b.transport, b.address, b.port);
      const known = places.backends.get(key) ?? [];
      places.backends.set(key, [...known, { signals, farm: farm.name, backend: b.name, index }]);
    }
  }
  return places;
}

/** As {@link endpointKey}; what is no address has a key that nothing else has. */
function placeKey(transport: TransportCode, address: string, port: number): string {
  const endpoint = createEndpoint(transport);
  if (!setAddress(endpoint, address)) return address;
  endpoint.port = port;
  return endpointKey(endpoint);
}
