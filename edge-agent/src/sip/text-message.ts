import { MessageView, PARSE } from './message.ts';
import { toText } from './text.ts';
import { address, nextAddress, UriView } from './uri.ts';

/** RFC 3261 §7.3.3 */
const COMPACT: Record<string, string> = {
  v: 'via',
  f: 'from',
  t: 'to',
  i: 'call-id',
  m: 'contact',
  l: 'content-length',
  k: 'supported',
  c: 'content-type',
  s: 'subject',
};

const keyOf = (name: string): string => COMPACT[name.toLowerCase()] ?? name.toLowerCase();

const view = new MessageView();

/**
 * A SIP message as text, for programs that make and read a few of them; the proxy itself never does this.
 * Text is Latin-1, one character per byte, so that whatever came in goes out again as it was.
 */
export class SipMessage {
  /** Request line or status line. */
  start: string;
  headers: { name: string; value: string }[];
  body: string;

  constructor(start: string, headers: readonly (readonly [string, string])[] = [], body = '') {
    this.start = start;
    this.headers = headers.map(([name, value]) => ({ name, value }));
    this.body = body;
  }

  /** Undefined where the bytes are no SIP message. */
  static parse(bytes: Uint8Array): SipMessage | undefined {
    if (view.parse(bytes, 0, bytes.length) !== PARSE.ok) return undefined;
    const message = new SipMessage(toText(bytes, 0, view.headersStart - 2));
    for (let i = 0; i < view.headerCount; i++) {
      const line = toText(bytes, view.lineStart[i]!, view.valueEnd[i]!);
      const value = toText(bytes, view.valueStart[i]!, view.valueEnd[i]!).replace(/\r\n[ \t]+/g, ' ');
      message.headers.push({ name: line.slice(0, line.indexOf(':')).trim(), value });
    }
    message.body = toText(bytes, view.bodyStart, view.end);
    return message;
  }

  get isRequest(): boolean {
    return !this.start.startsWith('SIP/2.0 ');
  }
  /** Of a response: that of its CSeq. */
  get method(): string {
    return (this.isRequest ? this.start : (this.get('cseq') ?? '').replace(/^\d+\s+/, '')).split(' ')[0]!;
  }
  get uri(): string {
    return this.start.split(' ')[1]!;
  }
  get status(): number {
    return Number(this.start.slice(8, 11));
  }
  get cseq(): number {
    return Number.parseInt(this.get('cseq') ?? '', 10);
  }

  /** First value of a header field; names in lower case and long form. */
  get(name: string): string | undefined {
    return this.headers.find((h) => keyOf(h.name) === name)?.value;
  }
  /** Every line of a header field. */
  all(name: string): string[] {
    return this.headers.filter((h) => keyOf(h.name) === name).map((h) => h.value);
  }
  /** Every element of a header field that is a comma-separated list. */
  list(name: string): string[] {
    return this.all(name).flatMap(splitList);
  }
  /** Replaces every line of a header field, where the first one stood, or at the end. */
  set(name: string, values: readonly string[]): void {
    const at = this.headers.findIndex((h) => keyOf(h.name) === keyOf(name));
    this.headers = this.headers.filter((h) => keyOf(h.name) !== keyOf(name));
    this.headers.splice(at < 0 ? this.headers.length : at, 0, ...values.map((value) => ({ name, value })));
  }
  prepend(name: string, value: string): void {
    this.headers.unshift({ name, value });
  }

  tag(header: 'from' | 'to'): string | undefined {
    return parameter(this.get(header) ?? '', 'tag');
  }

  toBytes(): Buffer {
    this.set('Content-Length', [String(this.body.length)]);
    const head = this.headers.map(({ name, value }) => `${name}: ${value}\r\n`).join('');
    return Buffer.from(`${this.start}\r\n${head}\r\n${this.body}`, 'latin1');
  }

  /** Another request for the same URI, with some of this one's header fields (named in lower case and long form). */
  derive(method: string, names: readonly string[]): SipMessage {
    const derived = new SipMessage(`${method} ${this.uri} SIP/2.0`);
    derived.headers = this.headers.filter((h) => names.includes(keyOf(h.name))).map((h) => ({ ...h }));
    return derived;
  }

  /** A response to this request: Via, From, To, Call-ID and CSeq as RFC 3261 §8.2.6.2 copies them. */
  reply(status: number, reason: string, toTag?: string): SipMessage {
    const copy = ['via', 'from', 'to', 'call-id', 'cseq'];
    const response = new SipMessage(`SIP/2.0 ${status} ${reason}`);
    response.headers = this.headers.filter((h) => copy.includes(keyOf(h.name))).map((h) => ({ ...h }));
    const to = this.get('to') ?? '';
    if (toTag !== undefined && this.tag('to') === undefined) response.set('To', [`${to};tag=${toTag}`]);
    return response;
  }
}

/** `a, "b, c" <sip:d,e>` → two elements. */
export function splitList(value: string): string[] {
  const out: string[] = [];
  let start = 0;
  let inside = '';
  for (let i = 0; i <= value.length; i++) {
    const c = value[i];
    if (inside === '"' && c === '\\') i++;
    else if (inside !== '') inside = c === inside ? '' : inside;
    else if (c === '"') inside = '"';
    else if (c === '<') inside = '>';
    else if (c === ',' || c === undefined) {
      const element = value.slice(start, i).trim();
      if (element !== '') out.push(element);
      start = i + 1;
    }
  }
  return out;
}

/** A parameter of a name-addr or Via, outside of quotes and angle brackets; '' where it has no value. */
export function parameter(value: string, name: string): string | undefined {
  const bare = value.replace(/"(?:\\.|[^"\\])*"|<[^>]*>/g, (hidden) => (hidden.startsWith('<') ? '' : hidden));
  const match = new RegExp(
    `;\\s*${name.replace(/[+.]/g, '\\$&')}\\s*(?:=\\s*("[^"]*"|[^;,\\s]*)|(?=[;,\\s]|$))`,
    'i',
  ).exec(bare);
  return match ? (match[1] ?? '').replace(/^"|"$/g, '') : undefined;
}

export interface SipUri {
  /** Without brackets, name or header parameters. */
  text: string;
  user: string;
  host: string;
  /** 5060 where none is given. */
  port: number;
}

const uriView = new UriView();

/** The URI of a name-addr or addr-spec; undefined where it is no SIP URI. */
export function uriOf(value: string): SipUri | undefined {
  const bytes = Buffer.from(value, 'latin1');
  if (!nextAddress(bytes, 0, bytes.length)) return undefined;
  const { uriStart, uriEnd } = address;
  if (!uriView.parse(bytes, uriStart, uriEnd)) return undefined;
  return {
    text: toText(bytes, uriStart, uriEnd),
    user: toText(bytes, uriView.userStart, uriView.userEnd),
    host: toText(bytes, uriView.hostStart, uriView.hostEnd),
    port: uriView.port || 5060,
  };
}

/** A host as it stands in a URI or in Via: IPv6 in brackets. */
export const hostText = (host: string): string => (host.includes(':') ? `[${host}]` : host);

export interface Peer {
  host: string;
  port: number;
}

/** Where the response to a request goes (RFC 3261 §18.2.2, RFC 3581): as its top Via says, for UDP. */
export function responseTarget(via: string): Peer | undefined {
  const match = /^SIP\s*\/\s*2\.0\s*\/\s*\w+\s+(?:\[([^\]]+)\]|([^\s:;,]+))(?:\s*:\s*(\d+))?/i.exec(via);
  if (!match) return undefined;
  const host = parameter(via, 'received') || (match[1] ?? (match[2] as string));
  const rport = Number(parameter(via, 'rport') || 0);
  return { host: host.replace(/^\[|\]$/g, ''), port: rport || Number(match[3] ?? 5060) };
}
