import { agent, endpoint } from '../../edge-agent/src/proxy/proxy.fixture.ts';
import { MAX_HEADERS, MessageView, PARSE } from '../../edge-agent/src/sip/message.ts';
import { nameOf, type RawMessage, split } from '../corpus/raw.ts';
import { SOURCES } from './messages.ts';
import { mutate } from './mutate.ts';
import { Finding, type Target } from './target.ts';

/** More than a proxy ever writes into one message, a tag behind every To line aside: Vias, tokens, an answer's own lines. */
const GROWTH = 1_200;
/** Header lines that a proxy adds: Via, two Record-Routes, Max-Forwards, Content-Length and the like. */
const MOST_ADDED = 8;
/** An agent of the fixture is thrown away after so many messages, with the transactions that it has. */
const LIFE = 100;
/** What one message may make a proxy send: on to a backend, a 100, and a CANCEL to three candidates. */
const MOST_SENT = 4;

/** XOR-MAPPED-ADDRESS of an IPv6 address. */
const STUN_ATTRIBUTE = 24;

const latin1 = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));
/** The version is case-insensitive (RFC 3261 §7.1). */
const isResponse = (text: string): boolean => /^SIP\/2\.0 /i.test(text);

const named = (message: RawMessage, name: string): string[] => message.lines.filter((line) => nameOf(line) === name);

/** What a proxy may add, take or change besides the top Via. */
const TOUCHED = new Set(['via', 'max-forwards', 'route', 'record-route', 'path', 'supported', 'content-length']);

/** A REGISTER or its answer, whose Contacts are rewritten in mode `contact`. */
const registers = (text: string): boolean => /^cseq[ \t]*:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*REGISTER/im.test(text);
/** A request for a URI that we made of a Contact: the client gets its own again. */
const FOR_CONTACT = /^\S+ sips?:[\w-]{24,}@/i;

/** Message with the body that Content-Length gives it, as the proxy has understood it. */
function understood(text: string): { head: RawMessage; body: string; ok: boolean } {
  const bytes = latin1(text);
  const view = new MessageView();
  const ok = view.parse(bytes, 0, bytes.length) === PARSE.ok;
  return { head: split(text), body: ok ? text.slice(view.bodyStart, view.end) : '', ok };
}

/** Holds what must be true of anything that goes on, whatever came in. */
function checkPassedOn(input: string, out: string): void {
  const before = understood(input);
  const after = understood(out);
  if (!before.ok) throw new Finding('what cannot be understood was sent on');
  // What was full when it came is over our own limit when it leaves.
  if (!after.ok && before.head.lines.length > MAX_HEADERS - MOST_ADDED) return;
  if (!after.ok) throw new Finding('what was sent on cannot be read again');
  if (after.head.start !== before.head.start && !FOR_CONTACT.test(before.head.start))
    throw new Finding('the start line was changed');
  if (after.body !== before.body) throw new Finding('the body was changed');
  const more = named(after.head, 'via').length - named(before.head, 'via').length;
  if (!isResponse(input) && more !== 1) throw new Finding(`a request gained ${more} Via lines`);
  if (isResponse(input) && more > 0) throw new Finding('a response gained a Via');
  // Towards a stream a length is added where there was none (RFC 3261 §18.3).
  const lengths = named(before.head, 'content-length');
  if (lengths.length > 0 && named(after.head, 'content-length').join() !== lengths.join())
    throw new Finding('Content-Length was changed');
  if (named(after.head, 'contact').length !== named(before.head, 'contact').length)
    throw new Finding('Contacts came or went');
  const touched = registers(input) ? new Set([...TOUCHED, 'contact']) : TOUCHED;
  const kept = (message: RawMessage) => message.lines.filter((line) => !touched.has(nameOf(line))).join('\r\n');
  if (kept(after.head) !== kept(before.head)) throw new Finding('a header line was lost, moved or changed');
}

/** Holds what must be true of an answer to a request that the proxy has not seen before. */
function checkAnswer(input: string, out: string): void {
  const before = split(input);
  const after = split(out);
  if (!/^SIP\/2\.0 [1-6]\d\d [^\r\n]+$/.test(after.start)) throw new Finding('an answer without a status line');
  if (after.body !== '') throw new Finding('an answer with a body');
  for (const name of ['via', 'from', 'call-id', 'cseq', 'to'])
    if (named(after, name).length !== named(before, name).length)
      throw new Finding(`an answer with other ${name} lines`);
}

/**
 * Sends one message through a proxy and holds what must be true of whatever comes out. `again`: it may belong to a transaction that is there
 * already, and be answered with what that one was.
 */
export function checkMessage(
  text: string,
  { from, listener }: { from: string; listener: number } = SOURCES[0],
  proxy: ReturnType<typeof agent> = agent(),
  again = false,
): void {
  proxy.sent.length = 0;
  proxy.drops.length = 0;
  proxy.receiveBytes(latin1(text), from, listener);
  if (proxy.sent.length > MOST_SENT) throw new Finding(`${proxy.sent.length} messages were sent because of one`);
  const sender = endpoint(from);
  for (const { text: out, to } of proxy.sent) {
    // A STUN answer: to whom asked, and hardly longer.
    if (text.startsWith('\0') && to.ip3 === sender.ip3 && out.length <= text.length + STUN_ATTRIBUTE) continue;
    if (out.length > 2 * text.length + GROWTH) throw new Finding(`${text.length} bytes became ${out.length}`);
    if (!isResponse(out) || isResponse(text)) checkPassedOn(text, out);
    else if (to.ip3 !== sender.ip3) throw new Finding('an answer went to somebody else');
    else if (!again) checkAnswer(text, out);
  }
}

/** RFC 3261 §18.1.1 has 1,300: a smaller one is passed more often. */
const LARGE = 700;

/** Farms that lead messages by other ways: everything by default; no Path and no hash; Contacts rewritten; backends on TCP, keyed by a header; TCP for what is large. */
export const FARMS: readonly Parameters<typeof agent>[0][] = [
  {},
  { registration: { mode: 'none' }, balancing: { strategy: 'weighted-round-robin' } },
  { registration: { mode: 'contact', maxExpires: '2m' } },
  {
    balancing: { strategy: 'hash', key: 'header:Contact' },
    backends: [
      { name: 'pbx1', address: '10.0.0.11', transport: 'tcp' },
      { name: 'pbx2', address: '10.0.0.12', transport: 'tcp', priority: 2 },
    ],
  },
  { backends: [{ name: 'pbx1', address: '10.0.0.11', tcpAbove: LARGE }] },
];

/** No request that is too large for a datagram goes to a backend as one. */
function checkSizes({ sent, plan }: ReturnType<typeof agent>): void {
  const [backend] = plan.farms[0]!.backends;
  if (!backend?.tcpAbove) return;
  const there = endpoint(`udp ${backend.address}:${backend.port}`);
  for (const { how, to, text } of sent)
    if (how === 'datagram' && to.ip3 === there.ip3 && !isResponse(text) && text.length > backend.tcpAbove)
      throw new Finding(`a datagram of ${text.length} bytes`);
}

/** The proxy as a data thread runs it, on messages changed at random. */
export function proxyTarget(messages: readonly string[]): Target {
  const proxies = FARMS.map((farm) => ({ farm, proxy: agent(farm), left: LIFE }));
  return {
    name: 'proxy',
    input(random) {
      const message = mutate(random, messages);
      return { message: random.oneIn(4) ? message : ofOwnCall(message, random.next()), choice: random.next() };
    },
    check({ message, choice }) {
      const used = proxies[(choice >>> 8) % proxies.length]!;
      if (used.left-- === 0) {
        used.proxy = agent(used.farm);
        used.left = LIFE;
      }
      checkMessage(message, SOURCES[choice % SOURCES.length], used.proxy, !message.includes(OWN_CALL));
      checkSizes(used.proxy);
    },
  };
}

/** In the Call-ID of a message that no transaction has seen. */
const OWN_CALL = 'fuzz-call-';

const ofOwnCall = (message: string, number: number): string =>
  message.replace(/^((?:call-id|i)[ \t]*:\s*)/im, `$1${OWN_CALL}${number}-`);
