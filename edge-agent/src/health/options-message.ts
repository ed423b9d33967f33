import { newCallId, newTag } from './identifiers.ts';
import { hostPort } from './probe.ts';

/** A response, as far as a probe has to know it. */
export interface Answer {
  status: number;
  reason: string;
}

/** No answer to OPTIONS comes near this; a peer that sends more is not a SIP element. */
export const OPTIONS_LIMIT = 65_536;

export const isIPv6 = (address: string): boolean => address.includes(':');

/** An OPTIONS outside of any dialog (RFC 3261 §11.1) for the server itself: its Request-URI has no user part. */
export function optionsRequest(
  to: { address: string; port: number; transport: 'udp' | 'tcp' | 'tls' },
  from: { address: string; port: number },
  branch: string,
): Buffer {
  const own = hostPort(from);
  const parameter = to.transport === 'udp' ? '' : `;transport=${to.transport}`;
  const uri = `sip:${hostPort(to)}${parameter}`;
  return Buffer.from(
    [
      `OPTIONS ${uri} SIP/2.0`,
      `Via: SIP/2.0/${to.transport.toUpperCase()} ${own};rport;branch=${branch}`,
      'Max-Forwards: 70',
      `From: <sip:sipfleet@${own}>;tag=${newTag()}`,
      `To: <${uri}>`,
      `Call-ID: ${newCallId()}`,
      'CSeq: 1 OPTIONS',
      `Contact: <sip:sipfleet@${own}${parameter}>`,
      'Accept: application/sdp',
      'User-Agent: sipfleet',
      'Content-Length: 0',
      '',
      '',
    ].join('\r\n'),
    'latin1',
  );
}

/**
 * The response in `bytes`, if it belongs to the OPTIONS with this branch (RFC 3261 §17.1.3: branch of the top Via and
 * method of the CSeq), else undefined.
 */
export function readAnswer(bytes: Buffer, branch: string): Answer | undefined {
  // Folded header lines (RFC 3261 §7.3.1) become one.
  const head = headOf(bytes.toString('latin1')).replace(/\r\n[ \t]+/g, ' ');
  const start = /^SIP\/2\.0 ([1-6]\d\d)(?: ([^\r\n]*))?(?:\r\n|$)/i.exec(head);
  const via = /^(?:via|v)[ \t]*:([^\r\n,]*)/im.exec(head)?.[1];
  const method = /^cseq[ \t]*:[ \t]*\d+[ \t]+(\S+)/im.exec(head)?.[1];
  if (!start || !via || method !== 'OPTIONS') return undefined;
  const received = /;[ \t]*branch[ \t]*=[ \t]*([^\s;]+)/i.exec(via)?.[1];
  return received === branch ? { status: Number(start[1]), reason: start[2] ?? '' } : undefined;
}

const headOf = (text: string): string => {
  const end = text.indexOf('\r\n\r\n');
  return end < 0 ? text : text.slice(0, end);
};

/** Cuts the messages of a stream by their Content-Length (RFC 3261 §18.3) and looks for the final response among them. */
export class StreamAnswers {
  readonly #branch: string;
  readonly #saw: (message: Buffer) => void;
  #buffered = '';

  /** `saw`: told every message; of a final response as much as was needed of it. */
  constructor(branch: string, saw: (message: Buffer) => void = () => {}) {
    this.#branch = branch;
    this.#saw = saw;
  }

  /** Characters held back because their message is not complete. */
  get length(): number {
    return this.#buffered.length;
  }

  /** Takes the next piece of the stream. Returns the final response once it is there. */
  add(bytes: Buffer): Answer | undefined {
    // Keepalives before a message (RFC 5626 §3.5.1) are no part of it.
    this.#buffered = (this.#buffered + bytes.toString('latin1')).replace(/^[\r\n]+/, '');
    for (;;) {
      const end = this.#buffered.indexOf('\r\n\r\n');
      if (end < 0) return undefined;
      const head = this.#buffered.slice(0, end);
      const length = Number(/^(?:content-length|l)[ \t]*:[ \t]*(\d{1,6})[ \t]*$/im.exec(head)?.[1] ?? 0);
      const message = this.#buffered.slice(0, end + 4 + length);
      const answer = readAnswer(Buffer.from(head, 'latin1'), this.#branch);
      // The start line and headers suffice: a final response's body is of no interest and is not waited for.
      const final = answer !== undefined && answer.status >= 200;
      if (!final && this.#buffered.length < end + 4 + length) return undefined;
      this.#saw(Buffer.from(message, 'latin1'));
      if (final) return answer;
      this.#buffered = this.#buffered.slice(end + 4 + length).replace(/^[\r\n]+/, '');
    }
  }
}
