import type { RemoteInfo, Socket } from 'node:dgram';
import { CHALLENGE, CREDENTIALS, header, request, response, routeOf } from './messages.ts';

/** Where everybody is: a proxy tells phones from PBXs by their addresses. */
export const ADDRESSES = { agent: '127.0.0.1', phones: '127.0.0.1', pbxs: ['127.0.0.2', '127.0.0.3'] } as const;

export interface Stage {
  /** Of the farms' listeners: the one that keeps transactions, and the one that does not. */
  readonly ports: readonly number[];
  readonly phones: Socket;
  readonly pbxs: readonly Socket[];
  /** Has the agent refuse this share of new work; above 1: without a word. */
  overload(share: number): void;
}

/** How many calls were begun, and how many of them were answered. */
export interface Played {
  readonly calls: number;
  readonly answered: number;
}

/** Calls that are under way at once: enough for batches. */
const AT_ONCE = 48;
/** Of a call that does not go on. */
const PATIENCE_MS = 100;
const LOOK_MS = 10;
/** So often looked, and nobody has answered at all: datagrams do not get through here. Not by the clock: a machine may have other things to do. */
const HOPELESS_LOOKS = 30;
/** The part of the calls, in order, that finds the agent in overload, and then so much that it says nothing. */
const OVERLOAD = { from: 0.75, silent: 0.87, to: 0.88 } as const;
/** Of so many calls one is made to the farm without transactions. */
const STATELESS_EVERY = 5;

/**
 * How calls go, by the first letter of their Call-IDs, as often as they stand here: c a whole call, a REGISTER with a challenge, b busy, d cancelled, f a PBX that
 * is to be left for the other, i nobody there, m malformed, o OPTIONS, r an INVITE sent twice, s a PBX that answers only the second time, u MESSAGE, v SUBSCRIBE.
 */
const PLOTS = 'ccccccccabdfimorsuv';
const METHODS: Readonly<Record<string, string>> = { a: 'REGISTER', o: 'OPTIONS', u: 'MESSAGE', v: 'SUBSCRIBE' };

/** Plays `calls` calls, or as many as go into `milliseconds`. */
export function playCalls(stage: Stage, calls: number, milliseconds: number): Promise<Played> {
  return new Promise((resolve) => new Play(stage, calls, milliseconds, resolve).begin());
}

class Play {
  readonly #stage: Stage;
  readonly #calls: number;
  readonly #milliseconds: number;
  readonly #done: (played: Played) => void;
  readonly #began = performance.now();
  /** Calls under way, and since when. */
  readonly #open = new Map<string, number>();
  /** Calls that are not waited for any more, and may be answered all the same. */
  readonly #late = new Set<string>();
  /** INVITEs that a PBX did not answer. */
  readonly #ignored = new Set<string>();
  #begun = 0;
  #answered = 0;
  #looks = 0;
  #over = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(stage: Stage, calls: number, milliseconds: number, done: (played: Played) => void) {
    this.#stage = stage;
    this.#calls = calls;
    this.#milliseconds = milliseconds;
    this.#done = done;
  }

  begin(): void {
    const { phones, pbxs } = this.#stage;
    phones.on('message', (bytes) => this.#atPhone(bytes.toString('latin1')));
    for (const pbx of pbxs) pbx.on('message', (bytes, from) => this.#atPbx(pbx, bytes.toString('latin1'), from));
    this.#timer = setInterval(() => {
      this.#looks++;
      this.#goOn();
    }, LOOK_MS);
    this.#goOn();
  }

  /** Begins as many calls as there is room for. */
  #goOn(): void {
    if (this.#over) return;
    const now = performance.now();
    for (const [id, since] of this.#open) if (now - since > PATIENCE_MS) this.#giveUp(id);
    const passed = now - this.#began;
    const hopeless = this.#answered === 0 && this.#looks > HOPELESS_LOOKS;
    const all = this.#begun === this.#calls && this.#open.size === 0;
    if (all || hopeless || (passed > this.#milliseconds && this.#answered > 0)) return this.#end();
    this.#stage.overload(this.#share());
    while (this.#open.size < AT_ONCE && this.#begun < this.#calls) this.#call(this.#begun++, now);
  }

  #giveUp(id: string): void {
    this.#open.delete(id);
    this.#late.add(id);
  }

  #share(): number {
    const part = this.#begun / this.#calls;
    if (part < OVERLOAD.from || part >= OVERLOAD.to) return 0;
    return part < OVERLOAD.silent ? 0.5 : 2;
  }

  #end(): void {
    this.#over = true;
    clearInterval(this.#timer);
    const { phones, pbxs } = this.#stage;
    for (const socket of [phones, ...pbxs]) socket.removeAllListeners('message');
    this.#done({ calls: this.#begun, answered: this.#answered });
  }

  #call(number: number, now: number): void {
    const plot = PLOTS[number % PLOTS.length] as string;
    const callId = `${plot}${number}@phone.invalid`;
    // Whom nobody answers, or late, is not waited for.
    if (plot !== 'm' && plot !== 's') this.#open.set(callId, now);
    const first = this.#request(METHODS[plot] ?? 'INVITE', callId);
    this.#send(number, plot === 'm' ? first.replace('CSeq: 1', 'CSeq: x') : first);
    if (plot === 'r') this.#send(number, first);
    if (plot === 'd') this.#send(number, this.#request('CANCEL', callId));
  }

  #request(method: string, callId: string, more: Parameters<typeof request>[2] = {}): string {
    const phone = this.#stage.phones.address();
    return request(method, { callId, number: numberOf(callId), phone, agent: ADDRESSES.agent }, more);
  }

  #send(number: number, text: string): void {
    const { ports, phones } = this.#stage;
    const stateless = Math.floor(number / PLOTS.length) % STATELESS_EVERY === 0;
    phones.send(Buffer.from(text, 'latin1'), ports[stateless ? 1 : 0], ADDRESSES.agent);
  }

  #atPhone(text: string): void {
    const status = Number(text.slice('SIP/2.0 '.length, 'SIP/2.0 200'.length));
    const callId = header(text, 'Call-ID');
    if (!(status >= 200) || callId === '') return;
    this.#follow(text, callId, status);
    if (this.#open.delete(callId) || this.#late.delete(callId)) this.#answered++;
    if (this.#open.size < AT_ONCE / 2) this.#goOn();
  }

  /** What a phone sends after a final response. */
  #follow(text: string, callId: string, status: number): void {
    const number = numberOf(callId);
    const toTag = /;tag=.*/.exec(header(text, 'To'))?.[0] ?? '';
    const [, method] = header(text, 'CSeq').split(' ');
    if (method === 'INVITE' && status >= 300) this.#send(number, this.#request('ACK', callId, { toTag }));
    else if (method === 'INVITE') {
      const more = routeOf(text);
      this.#send(number, this.#request('ACK', callId, { more, toTag, turn: 'a' }));
      this.#send(number, this.#request('BYE', callId, { more, toTag, turn: 'b' }));
    } else if (status === 401) {
      this.#send(number, this.#request('REGISTER', callId, { more: CREDENTIALS, turn: 'c' }));
    }
  }

  #atPbx(pbx: Socket, text: string, from: RemoteInfo): void {
    if (text.startsWith('ACK ') || text.startsWith('SIP/')) return;
    const callId = header(text, 'Call-ID');
    const answer = (status: string, more = '') =>
      pbx.send(Buffer.from(response(text, status, more), 'latin1'), from.port, from.address);
    if (text.startsWith('REGISTER ') && !text.includes('\r\nAuthorization: '))
      return answer('401 Unauthorized', CHALLENGE);
    if (!text.startsWith('INVITE ')) return answer('200 OK');
    const plot = callId[0];
    if (plot === 's' && !this.#ignored.has(callId)) return void this.#ignored.add(callId);
    if (plot === 'f' || plot === 'b') return answer(plot === 'f' ? '503 Service Unavailable' : '486 Busy Here');
    if (plot === 'd') return answer('487 Request Terminated');
    answer('180 Ringing');
    answer(plot === 'i' ? '404 Not Found' : '200 OK');
  }
}

const numberOf = (callId: string): number => Number.parseInt(callId.slice(1), 10);
