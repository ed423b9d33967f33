import { randomInt } from 'node:crypto';
import { PCMA, PCMU } from '../../media/g711.ts';
import type { RtpSession } from '../../media/rtp-session.ts';
import { type Direction, describeAudio, mirror, parseAudio } from '../../media/sdp.ts';
import type { SipMessage } from '../../sip/text-message.ts';

/** Offer and answer (RFC 3264) for one RTP session. */
export class AudioNegotiation {
  readonly #rtp: RtpSession;
  readonly #address: string;
  readonly #session = randomInt(1, 2 ** 31);
  #version = 0;
  /** The peer has answered an offer. */
  agreed = false;

  constructor(rtp: RtpSession, address: string) {
    this.#rtp = rtp;
    this.#address = address;
  }

  offer(): string {
    return this.#describe('sendrecv');
  }

  /** Takes the description in a message. Returns what is wrong with it; undefined where audio can flow as it says. */
  accept(message: SipMessage): string | undefined {
    const type = typeOf(message);
    if (message.body === '') return 'no session description';
    // A multipart body (RFC 5621) is left alone: which of its parts counts is not a probe's to guess.
    if (type !== 'application/sdp') return `a body of type ${type || 'none'} instead of a session description`;
    const theirs = parseAudio(message.body);
    if (!theirs) return 'no audio stream over RTP/AVP in its description';
    const codec = theirs.codecs[0];
    if (codec === undefined) return 'neither PCMU nor PCMA in its description';
    const wanted = theirs.direction === 'sendrecv' || theirs.direction === 'recvonly';
    this.#rtp.sendTo(wanted ? theirs.target : undefined, codec);
    this.agreed = true;
    return undefined;
  }

  /** The answer to the offer of a re-INVITE, or an offer where it has none; undefined where it cannot be taken. */
  answer(request: SipMessage): string | undefined {
    if (request.body === '') return this.offer();
    const direction = parseAudio(request.body)?.direction;
    return direction === undefined || this.accept(request) ? undefined : this.#describe(mirror(direction));
  }

  #describe(direction: Direction): string {
    const { port } = this.#rtp;
    const own = { address: this.#address, port, session: this.#session, version: ++this.#version };
    return describeAudio({ ...own, codecs: [PCMU, PCMA], direction });
  }
}

const typeOf = (message: SipMessage): string =>
  (message.get('content-type') ?? '').split(';')[0]!.trim().toLowerCase().slice(0, 60);
