import { createRegistered, readFlow } from '../../edge-agent/src/proxy/flow.ts';
import { agent, endpoint, header, request } from '../../edge-agent/src/proxy/proxy.fixture.ts';
import { createToken, putToken, readToken } from '../../edge-agent/src/proxy/token.ts';
import { parseWords } from '../../edge-agent/src/sip/host.ts';
import { address, nextAddress, UriView } from '../../edge-agent/src/sip/uri.ts';
import { ViaView } from '../../edge-agent/src/sip/via.ts';
import { readBranch, verifyBranch } from '../../edge-agent/src/transaction/branch.ts';
import type { Random } from './random.ts';
import { Finding, type Target } from './target.ts';

const latin1 = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));
const KEYS = agent().runtime.farms[0]!.keys;
const PHONE = 'udp 203.0.113.9:40000';
const BACK = { ...endpoint(PHONE), agent: 0, worker: 0, brought: 0 };

/** Texts that only we can have written: a branch for a response to {@link PHONE}, and tokens of both families. */
function genuine(): string[] {
  const out = agent().receive(request(), PHONE)!.text;
  const branch = /branch=([\w-]+)/.exec(header(out, 'Via')[0]!)![1]!;
  const token = /sip:([^@]+)@/.exec(header(out, 'Record-Route')[0]!)![1]!;
  const bytes = new Uint8Array(128);
  const six = createToken();
  Object.assign(six.client, { ip0: 0x20010db8, ip1: 1, ip2: 2, ip3: 3, port: 5060 });
  six.keyId = KEYS[0]!.id;
  const end = putToken(bytes, 0, six, KEYS[0]!.key);
  return [branch, token, Buffer.from(bytes.subarray(0, end)).toString('latin1')];
}

/** We have made this. */
const isOurs = (bytes: Uint8Array): boolean =>
  readToken(createToken(), KEYS, bytes, 0, bytes.length) ||
  (readBranch(bytes, 0, bytes.length) && verifyBranch(KEYS, BACK));

/** Values that the header readers are given. */
const VALUES = [
  'SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx;rport=5;received=192.0.2.2 , SIP / 2.0 / TCP [2001:db8::1] ;w="a;b"',
  '"A \\"B\\" <x>" <sip:a;b=c?d@[2001:db8::1]:5060;lr?h=v>;q=1, <sip:e@f>;x="," , sips:g:h@i',
  'tel:+1-555;phone-context=x',
  '::ffff:192.0.2.1',
  '2001:db8:::192.0.2.1',
];

const SPECIAL = '\0\t\r\n "%,/:;<=>?@[\\]0:.Aa9_-\x80\xff';

function garble(text: string, random: Random): string {
  let out = text;
  do {
    const at = random.below(out.length + 1);
    const by = random.oneIn(2) ? random.pick([...SPECIAL]) : '';
    out = out.slice(0, at) + by + out.slice(at + random.below(3));
  } while (!random.oneIn(3));
  return out;
}

/** Readers of single values: they stay within their range, and nothing that was changed passes for ours. */
export function readersTarget(): Target {
  const ours = genuine();
  if (!ours.every((text) => isOurs(latin1(text)))) throw new Error('what we made ourselves is not taken for ours');
  const all = [...ours, ...VALUES];
  const via = new ViaView();
  const uri = new UriView();
  return {
    name: 'readers',
    input: (random) => ({ message: garble(random.pick(all), random), choice: random.next() }),
    check({ message }) {
      const bytes = latin1(message);
      const end = bytes.length;
      if (isOurs(bytes) && !ours.includes(message)) throw new Finding(`taken for ours: ${message}`);
      const within = (...offsets: number[]) => {
        if (offsets.some((offset) => offset < 0 || offset > end)) throw new Finding(`beyond the value: ${offsets}`);
      };
      if (via.parse(bytes, 0, end))
        within(via.end, via.hostEnd, via.branchEnd, via.receivedEnd, via.rportEnd, via.flowEnd);
      if (uri.parse(bytes, 0, end)) within(uri.userEnd, uri.hostEnd, uri.paramsStart);
      for (let at = 0; nextAddress(bytes, at, end); at = address.end) {
        within(address.uriStart, address.uriEnd, address.end);
        if (address.end <= at) throw new Finding(`a list that does not move on at ${at}`);
      }
      parseWords(bytes, 0, end);
      readFlow({ ...BACK }, createRegistered(), bytes, 0, end);
    },
  };
}
