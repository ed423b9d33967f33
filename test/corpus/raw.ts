/** A message as lines, read without any of the code under test. */
export interface RawMessage {
  start: string;
  /** Header lines with their folds, without the CRLF at the end. */
  lines: string[];
  body: string;
}

const COMPACT: Record<string, string> = {
  v: 'via',
  f: 'from',
  t: 'to',
  i: 'call-id',
  l: 'content-length',
  m: 'contact',
};

export function split(message: string): RawMessage {
  const end = message.indexOf('\r\n\r\n');
  const [start = '', ...lines] = message.slice(0, end).split(/\r\n(?![ \t])/);
  return { start, lines, body: message.slice(end + 4) };
}

/** In lower case, the compact forms that we meet written out. */
export function nameOf(line: string): string {
  const name = line.slice(0, line.indexOf(':')).trim().toLowerCase();
  return COMPACT[name] ?? name;
}

/** The first number behind the name. */
export const numberOf = (line: string): number => Number(/:\s*(\d+)/.exec(line)?.[1]);

/** All values of a header, of lists too. Knows no quotes: for Via. */
export const values = ({ lines }: RawMessage, name: string): string[] =>
  lines.filter((line) => nameOf(line) === name).flatMap((line) => line.slice(line.indexOf(':') + 1).split(','));

/** A Via line without what an element notes of a message's source (RFC 3261 §18.2.1, RFC 3581 §4). */
export const withoutSource = (line: string): string =>
  line.replace(/;received=[^;,\s]*/gi, '').replace(/;rport(=\d*)?(?=[;,\s]|$)/gi, '');
