/** A SIP message as it was seen on the wire. Read by these few lines and by nothing of the product, so that a test does not trust what it tests. */
export interface WireMessage {
  /** Seconds since the epoch, when the packet (or the last one of a message over TCP) was seen. */
  time: number;
  transport: 'udp' | 'tcp';
  source: { address: string; port: number };
  destination: { address: string; port: number };
  startLine: string;
  /** Of requests, else ''. */
  method: string;
  /** Of responses, else 0. */
  status: number;
  /** In order; names in full and in lower case. */
  headers: [name: string, value: string][];
  body: string;
  /** Length of the whole message in bytes. */
  size: number;
}

const COMPACT: Record<string, string> = {
  v: 'via',
  f: 'from',
  t: 'to',
  i: 'call-id',
  m: 'contact',
  l: 'content-length',
  c: 'content-type',
  k: 'supported',
};

/** Reads one message, one character per byte. Header names are made uniform; values stay as they are. */
export function readMessage(
  text: string,
): Pick<WireMessage, 'startLine' | 'method' | 'status' | 'headers' | 'body' | 'size'> {
  const end = text.indexOf('\r\n\r\n');
  const [startLine = '', ...lines] = text
    .slice(0, end < 0 ? text.length : end)
    .replace(/\r\n[ \t]+/g, ' ')
    .split('\r\n');
  const response = /^SIP\/2\.0 (\d{3})/.exec(startLine);
  return {
    startLine,
    method: response ? '' : (startLine.split(' ')[0] ?? ''),
    status: Number(response?.[1] ?? 0),
    headers: lines.map((line) => {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).trim().toLowerCase();
      return [COMPACT[name] ?? name, line.slice(colon + 1).trim()];
    }),
    body: end < 0 ? '' : text.slice(end + 4),
    size: text.length,
  };
}

/** Every value of a header that is a comma-separated list (Via, Route, Record-Route, Path, Contact), in order. */
export function values(message: Pick<WireMessage, 'headers'>, name: string): string[] {
  return message.headers
    .filter(([key]) => key === name.toLowerCase())
    .flatMap(([, value]) => value.split(/,(?=(?:[^"<>]|"[^"]*"|<[^>]*>)*$)/).map((part) => part.trim()));
}

/** The first value of a header, or ''. */
export const value = (message: Pick<WireMessage, 'headers'>, name: string): string =>
  message.headers.find(([key]) => key === name.toLowerCase())?.[1] ?? '';

/** `INVITE`, `200 INVITE`: what a ladder diagram would write on the arrow. */
export const label = (message: WireMessage): string =>
  message.method || `${message.status} ${value(message, 'cseq').split(' ')[1]}`;

/** Messages from one address to another. */
export const between = (messages: readonly WireMessage[], from: string, to: string): WireMessage[] =>
  messages.filter((m) => m.source.address === from && m.destination.address === to);

/** The messages as a ladder, for the error of a failed assertion. */
export const ladder = (messages: readonly WireMessage[]): string =>
  messages
    .map(
      (m) =>
        `${m.source.address}:${m.source.port} → ${m.destination.address}:${m.destination.port} ${m.transport} ${label(m)}`,
    )
    .join('\n');
