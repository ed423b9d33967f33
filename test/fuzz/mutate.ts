import type { Random } from './random.ts';

/** Changes to a message. Text is Latin-1, one character a byte, so that every byte can be said. */
type Mutation = (text: string, random: Random, others: readonly string[]) => string;

/** Longest message that comes out: the largest datagram, less some. */
const LONGEST = 60_000;

const SPECIAL = '\0\t\n\r "%,/:;<=>?@[\\]{}\x7f\x80\xff';
const NUMBERS = [
  '0',
  '00',
  '1',
  '-1',
  '255',
  '256',
  '65536',
  '2147483648',
  '4294967296',
  '18446744073709551616',
  '1e9',
];
const ESCAPES = ['%', '%%', '%0', '%zz', '%00', '%0d%0a', '%2', '\\', '\\"', '\\\0'];
const BLANKS = [' ', '\t', '\r\n ', ' \r\n\t ', '  '];
/** Lines that decide something in a proxy, and their odd forms. */
const LINES = [
  'Route: <sip:192.0.2.10:5060;lr>',
  'Route: <sip:192.0.2.10;lr>, <sip:elsewhere.example>',
  'Route: <sip:' + 'A'.repeat(48) + '@192.0.2.10:5060;lr>',
  'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx',
  'v: SIP/2.0/TCP [2001:db8::1]:5060;rport=1;received=[2001:db8::2] , SIP / 2.0 / UDP h',
  'To: "a <sip:b@c>',
  'From: <sip:a@b>;tag=1;tag=2',
  'Call-ID: x',
  'CSeq: 1 INVITE',
  'Max-Forwards: 0',
  'Content-Length: 0',
  'l: 99999',
  'Proxy-Require: foo',
  'Supported: path, 100rel',
  'Record-Route: <sip:a@b;lr>',
  'Contact: *',
  'Expires: -1',
  ': x',
  'X',
];
const METHODS = ['INVITE', 'ACK', 'BYE', 'CANCEL', 'REGISTER', 'OPTIONS', 'PRACK', 'REFER', 'invite', 'X'];
const STARTS = [
  'SIP/2.0 200 OK',
  'SIP/2.0 100 ',
  'SIP/2.0 699',
  'OPTIONS sip:192.0.2.10:5060 SIP/2.0',
  'INVITE  sip:a SIP/2.0',
];

const cut = (text: string, from: number, to: number, by = ''): string => text.slice(0, from) + by + text.slice(to);

/** A range of at most `most` characters. */
function range(text: string, random: Random, most: number): [number, number] {
  const from = random.below(text.length);
  return [from, Math.min(text.length, from + 1 + random.below(most))];
}

/** Changes the list of lines before the body. */
function withLines(text: string, change: (lines: string[]) => void): string {
  const end = text.indexOf('\r\n\r\n');
  const head = end < 0 ? text : text.slice(0, end);
  const lines = head.split('\r\n');
  change(lines);
  return lines.join('\r\n') + (end < 0 ? '' : text.slice(end));
}

/** Replaces one match of `pattern`, chosen at random. */
function replaceOne(text: string, pattern: RegExp, random: Random, by: (found: string) => string): string {
  const found = [...text.matchAll(pattern)];
  if (found.length === 0) return text;
  const { 0: match, index } = random.pick(found);
  return cut(text, index, index + match.length, by(match));
}

const MUTATIONS: readonly Mutation[] = [
  function flipBit(text, random) {
    const at = random.below(text.length);
    return cut(text, at, at + 1, String.fromCharCode((text.charCodeAt(at) ^ (1 << random.below(8))) & 255));
  },
  function setByte(text, random) {
    const at = random.below(text.length);
    return cut(text, at, at + random.below(2), random.pick([...SPECIAL]));
  },
  (text, random) => cut(text, ...range(text, random, 40)),
  function repeatRange(text, random) {
    const [from, to] = range(text, random, 60);
    return cut(text, to, to, text.slice(from, to).repeat(1 + random.below(20)));
  },
  (text, random) => text.slice(0, random.below(text.length)),
  function spliceTwo(text, random, others) {
    const other = random.pick(others);
    return text.slice(0, random.below(text.length)) + other.slice(random.below(other.length));
  },
  (text, random, others) => text + random.pick(others),
  (text, random) =>
    withLines(text, (lines) => {
      const at = random.below(lines.length);
      lines.splice(at, 0, ...Array<string>(random.pick([1, 2, 25, 97, 300])).fill(lines[at]!));
    }),
  (text, random) =>
    withLines(text, (lines) => {
      const [a, b] = [random.below(lines.length), random.below(lines.length)];
      [lines[a], lines[b]] = [lines[b]!, lines[a]!];
    }),
  (text, random) => withLines(text, (lines) => void lines.splice(random.below(lines.length), 1)),
  function addLines(text, random) {
    const some = Array.from({ length: random.pick([1, 1, 2, 30, 120]) }, () => random.pick(LINES));
    return withLines(text, (lines) => void lines.splice(1 + random.below(lines.length), 0, ...some));
  },
  /** The same lines again and again, one behind the other: pieces that cannot be joined. */
  function interleave(text, random) {
    const pair = [random.pick(LINES), 'X: y'];
    return withLines(text, (lines) => void lines.splice(1, 0, ...Array.from({ length: 120 }, () => pair).flat()));
  },
  (text, random, others) =>
    withLines(text, (lines) => {
      const [line = ''] = random
        .pick(others)
        .split('\r\n')
        .slice(1 + random.below(8));
      lines.splice(1 + random.below(lines.length), 0, line);
    }),
  (text, random) => replaceOne(text, /[ \t]+|[:;,=<]/g, random, (c) => c + random.pick(BLANKS)),
  (text, random) => replaceOne(text, /\d+/g, random, () => random.pick(NUMBERS)),
  (text, random) => replaceOne(text, /\d+/g, random, (n) => '0'.repeat(random.below(30)) + n),
  (text, random) =>
    replaceOne(
      text,
      /[\w.-]+/g,
      random,
      (word) => word + random.pick(['a', '9', '.', '%41']).repeat(random.pick([40, 130, 5_000])),
    ),
  (text, random) => replaceOne(text, /[\w.-]+/g, random, (word) => word + random.pick(ESCAPES)),
  (text, random) => replaceOne(text, /["<>[\]]/g, random, () => ''),
  (text, random) =>
    replaceOne(text, /^[\w-]+(?=\s*:)/gm, random, (name) => (random.oneIn(2) ? name.toUpperCase() : name[0]!)),
  (text, random) => replaceOne(text, /\r\n/g, random, () => random.pick(['\n', '\r', '\r\n\r\n', '\r\n\r\n ', ''])),
  (text, random) =>
    replaceOne(text, /^(INVITE|REGISTER|OPTIONS|BYE|ACK|CANCEL|MESSAGE)\b/g, random, () => random.pick(METHODS)),
  (text, random) => withLines(text, (lines) => void lines.splice(0, 1, random.pick(STARTS))),
  (text) => setLength(text),
];

/** Gives a message the Content-Length that its body has, so that what was changed elsewhere is looked at, on streams too. */
export function setLength(text: string): string {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return text;
  const lines = text
    .slice(0, end)
    .split('\r\n')
    .filter((line) => !/^(content-length|l)\s*:/i.test(line));
  return [...lines, `Content-Length: ${text.length - end - 4}`].join('\r\n') + text.slice(end);
}

/** One of the messages with a few changes, most often one. */
export function mutate(random: Random, messages: readonly string[]): string {
  let text = random.pick(messages);
  do {
    if (text.length > 0) text = random.pick(MUTATIONS)(text, random, messages).slice(0, LONGEST);
  } while (!random.oneIn(2));
  return text;
}
