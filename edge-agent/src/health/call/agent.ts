import { hostText, SipMessage } from '../../sip/text-message.ts';
import { newBranch } from '../identifiers.ts';
import { Authenticator } from './authentication.ts';
import type { Channel, ChannelEvents, ChannelSettings } from './channel.ts';
import { openStream } from './channel-stream.ts';
import { openUdp } from './channel-udp.ts';
import { openWebSocket } from './channel-ws.ts';
import type { Dialog } from './dialog.ts';
import type { ProbeFault } from './fault.ts';
import { ALLOW, Incoming, type IncomingEvents } from './incoming.ts';
import { hostPort, type Peer } from './locate.ts';
import type { ProbeOptions } from './options.ts';
import { type InviteEvents, Transactions } from './transaction.ts';

const OPEN = { udp: openUdp, tcp: openStream, tls: openStream, ws: openWebSocket } as const;
/** Rounds of challenges that one request may go through: a proxy's and a registrar's, each with an old nonce once. */
const MAX_ROUNDS = 4;

/** Whom a probe plays, and how. */
export interface Identity {
  user: string;
  authenticator: Authenticator;
  trace: ProbeOptions['trace'];
  tap: ProbeOptions['tap'];
}

type Where = { address: string; port: number } | undefined;

/** A SIP element on one channel: sends requests and takes the responses, answers requests. */
export class UserAgent {
  readonly identity: Identity;
  /** Aborts when the peer cannot be reached any more; its reason is the fault. */
  readonly down: AbortSignal;
  /** The peer has said something. */
  heard = false;
  readonly #down = new AbortController();
  #channel!: Channel;
  #transactions!: Transactions;
  #incoming!: Incoming;

  private constructor(identity: Identity) {
    this.identity = identity;
    this.down = this.#down.signal;
  }

  /** Opens the channel to a peer. Rejects with a ProbeFault, or the signal's reason. */
  static async open(
    peer: Peer,
    settings: ChannelSettings,
    identity: Identity,
    events: IncomingEvents,
    signal: AbortSignal,
  ): Promise<UserAgent> {
    const agent = new UserAgent(identity);
    const on: ChannelEvents = {
      message: (bytes, reply) => agent.#receive(bytes, reply),
      failed: (fault) => agent.#failed(fault),
    };
    agent.#channel = await OPEN[peer.transport](peer, settings, on, signal);
    const { reliable } = agent.#channel;
    agent.#transactions = new Transactions(reliable);
    agent.#incoming = new Incoming(events, reliable, agent.contact);
    return agent;
  }

  get peer(): Peer {
    return this.#channel.peer;
  }

  get local(): { address: string; port: number } {
    return this.#channel.local;
  }

  /** Contact of everything that this agent sends: where the peer's requests reach it. */
  get contact(): string {
    const { transport, local } = this.#channel;
    const own = hostPort(local.address, local.port);
    return `<sip:${this.identity.user}@${own}${transport === 'udp' ? '' : `;transport=${transport}`}>`;
  }

  /**
   * Sends a request other than INVITE, answering what it is challenged with. `build` makes it anew for every round, with a
   * higher CSeq. Resolves with the final response.
   */
  async request(build: () => SipMessage, signal: AbortSignal, to?: Where): Promise<SipMessage> {
    this.down.throwIfAborted();
    for (let round = 1; ; round++) {
      const message = this.stamp(build());
      const response = await this.#transactions.request(message, (m) => this.send(m, to), signal);
      if (!Authenticator.isChallenge(response) || round === MAX_ROUNDS) return response;
      this.identity.authenticator.learn(response, message);
    }
  }

  /** Sends an INVITE that {@link stamp} has completed. */
  invite(message: SipMessage, on: InviteEvents, to?: Where): { quiet(): void } {
    return this.#transactions.invite(message, (m) => this.send(m, to), on);
  }

  /** CANCEL for an INVITE that has a provisional response (RFC 3261 §9.1): its branch, its CSeq number. */
  cancel(invite: SipMessage, signal: AbortSignal): Promise<SipMessage> {
    const cancel = invite.derive('CANCEL', ['via', 'from', 'to', 'call-id', 'route', 'max-forwards']);
    cancel.set('CSeq', [`${invite.cseq} CANCEL`]);
    return this.#transactions.request(cancel, (m) => this.send(m), signal);
  }

  /** ACK of a 2xx: a transaction of its own, never retransmitted by itself (§13.2.2.4). */
  acknowledge(dialog: Dialog, invite: SipMessage): void {
    const ack = this.stamp(dialog.request('ACK', invite.cseq));
    // §22.1: ACK carries the credentials of its INVITE.
    for (const name of ['Authorization', 'Proxy-Authorization']) {
      const values = invite.all(name.toLowerCase());
      if (values.length > 0) ack.set(name, values);
    }
    this.send(ack, dialog.nextHop);
  }

  /** Via with a fresh branch on top, Contact, credentials, and who we are. */
  stamp(message: SipMessage): SipMessage {
    const { transport, local } = this.#channel;
    const sentBy = `${hostText(local.address)}:${local.port}`;
    message.prepend('Via', `SIP/2.0/${transport.toUpperCase()} ${sentBy};rport;branch=${newBranch()}`);
    if (message.method === 'INVITE') {
      message.set('Contact', [this.contact]);
      message.set('Allow', [ALLOW]);
    }
    message.set('User-Agent', ['check_sip (sipfleet)']);
    this.identity.authenticator.apply(message);
    return message;
  }

  send(message: SipMessage, to?: Where): void {
    const { peer } = this.#channel;
    const bytes = message.toBytes();
    this.#trace('>', message, bytes, to ?? peer);
    this.#channel.send(bytes, to);
  }

  /** Nothing is sent or heard from now on. Safe to call twice. */
  close(): void {
    this.#transactions.close();
    this.#incoming.close();
    this.#channel.close();
  }

  #receive(bytes: Uint8Array, reply: (bytes: Uint8Array) => void): void {
    const message = SipMessage.parse(bytes);
    if (!message) return;
    this.heard = true;
    this.#trace('<', message, bytes);
    if (!message.isRequest) return this.#transactions.receive(message);
    this.#incoming.receive(message, (response) => {
      const answer = response.toBytes();
      this.#trace('>', response, answer);
      reply(answer);
    });
  }

  #trace(direction: '>' | '<', message: SipMessage, bytes: Uint8Array, at: NonNullable<Where> = this.peer): void {
    this.identity.trace?.(direction, hostPort(at.address, at.port), redact(message));
    const { transport, local } = this.#channel;
    this.identity.tap?.({ transport, sent: direction === '>', local, remote: at, bytes });
  }

  #failed(fault: ProbeFault): void {
    if (this.down.aborted) return;
    this.#down.abort(fault);
    this.#transactions.fail(fault);
  }
}

/** A message for people: what proves a password is blotted out. */
const redact = (message: SipMessage): string =>
  message
    .toBytes()
    .toString('latin1')
    .replace(/^((?:Proxy-)?Authorization:)[^\r\n]*/gim, '$1 ***');
