import { hrtime } from 'node:process';
import { Exchanges } from '../../edge-agent/src/proxy/exchange.ts';
import { createFlows, Flows } from '../../edge-agent/src/proxy/flows.ts';
import { createPeers, Peers } from '../../edge-agent/src/proxy/peers.ts';
import { agent, answer, endpoint, FARM, header } from '../../edge-agent/src/proxy/proxy.fixture.ts';
import { SipProxy } from '../../edge-agent/src/proxy/proxy.ts';
import { createEventRing, EventWriter, monotonic } from '../../edge-agent/src/telemetry/events.ts';
import { createTape, TapeWriter } from '../../edge-agent/src/telemetry/tape.ts';
import { gather } from '../../edge-agent/src/transport/gather.ts';

/**
 * CPU time of the proxy alone (parse, decide, edit), no sockets: one INVITE and its 200, as blast.c writes them.
 *
 *   node test/bench/proxy-micro.ts [pairs] [off | events | tape] [stateless | stateful | calls]
 *
 * `events`: it also tells the control thread (which is not there to read); `tape`: and records every message, both ways. Default: off.
 * `stateful`: each INVITE is a transaction of its own, which its 200 ends, and is answered 100. `calls`: ACK, BYE and its 200 follow. Default: stateless.
 */
const pairs = Number(process.argv[2] ?? 500_000);
const telemetry = process.argv[3] ?? 'off';
const calls = process.argv[4] === 'calls';
const stateful = calls || process.argv[4] === 'stateful';
const ring = createEventRing();
const writer = telemetry === 'off' ? undefined : new EventWriter(ring);
const tape = telemetry === 'tape' ? new TapeWriter(createTape(1 << 24), monotonic) : undefined;
/** The reader, as far as the writer sees it: the ring is never full. */
const marks = new Int32Array(ring);
const node = agent({
  ...FARM,
  transactions: stateful ? 'stateful' : 'stateless',
  listeners: [{ transport: 'udp', address: '127.0.0.1', port: 5060 }],
});
const sdp =
  'v=0\r\no=bonnie 2890844526 2890844526 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n';
const invite = [
  'INVITE sip:clyde123@example.com SIP/2.0',
  'Via: SIP/2.0/UDP 127.0.0.1:7000;branch=z9hG4bK-1234567-1;rport',
  'Max-Forwards: 70',
  'From: Bonnie <sip:bonnie123@example.com>;tag=192830177412345',
  'To: Clyde <sip:clyde123@example.com>',
  'Call-ID: a84b4c76e66710-1234567@127.0.0.1',
  'CSeq: 314159 INVITE',
  'Contact: <sip:bonnie@127.0.0.1:7000>',
  'User-Agent: blast/1.0',
  'Allow: INVITE, ACK, CANCEL, OPTIONS, BYE',
  'Content-Type: application/sdp',
  `Content-Length: ${sdp.length}`,
  '',
  sdp,
].join('\r\n');
const forwarded = node.receive(invite.replaceAll('\r\n', '\n'), 'udp 127.0.0.1:7000')!.text;
const crlf = (text: string): string => text.replaceAll('\r\n', '\n').replaceAll('\n', '\r\n');
const ok = crlf(answer(forwarded));

/** What the caller sends within the call: by the Record-Routes of the 200. */
const inDialog = (method: 'ACK' | 'BYE', cseq: number): string =>
  [
    `${method} sip:clyde@10.0.0.11:5060 SIP/2.0`,
    `Via: SIP/2.0/UDP 127.0.0.1:7000;branch=z9hG4bK-1234567-${cseq};rport`,
    'Max-Forwards: 70',
    ...header(ok, 'Record-Route')
      .reverse()
      .map((route) => `Route: ${route}`),
    'From: Bonnie <sip:bonnie123@example.com>;tag=192830177412345',
    'To: Clyde <sip:clyde123@example.com>;tag=t1',
    'Call-ID: a84b4c76e66710-1234567@127.0.0.1',
    `CSeq: ${cseq} ${method}`,
    'Content-Length: 0',
    '',
    '',
  ].join('\r\n');
const ack = inDialog('ACK', 314159);
const bye = inDialog('BYE', 314160);
const forwardedBye = node.receive(bye.replaceAll('\r\n', '\n'), 'udp 127.0.0.1:7000')!.text;
const byeOk = crlf(answer(forwardedBye));

const block = new Uint8Array(1 << 20);
const arena = { bytes: block, used: 8192 };
const encoder = new TextEncoder();
/** A message in the block, the numbers of its call, and where the branch of ours stands in it. */
interface Laid {
  at: number;
  end: number;
  numbers: number[];
  branch: number;
}
const BRANCH = /branch=z9hG4bK([\w-]{26})[;\r]/;
const branchOf = (text: string): number => (BRANCH.exec(text)?.index ?? 0) + 'branch=z9hG4bK'.length;
function lay(text: string, at: number): Laid {
  const { written } = encoder.encodeInto(text, block.subarray(at));
  const numbers = [...text.matchAll(/1234567/g)].map((found) => at + found.index);
  return { at, end: at + written, numbers, branch: at + branchOf(text) };
}
const laid = {
  invite: lay(invite, 0),
  ok: lay(ok, 1024),
  ack: lay(ack, 2048),
  bye: lay(bye, 2816),
  byeOk: lay(byeOk, 3584),
};
const originals = block.slice(0, 4608);
const sentBranch = { invite: branchOf(forwarded), bye: branchOf(forwardedBye) };
const out = new Uint8Array(1 << 16);

let call = 0;
/** Makes a message one of the call at hand. */
function renumber({ numbers }: Laid): void {
  for (const at of numbers)
    for (let i = 6, n = call; i >= 0; i--, n = Math.floor(n / 10)) block[at + i] = 48 + (n % 10);
}

let bytesOut = 0;
let clock = 1;
const proxy = new SipProxy(
  node.runtime,
  {
    arena: () => arena,
    datagram: (_l, to, message) => {
      bytesOut += message.length;
      // As the transport does, whose copy the tape then takes.
      gather(out, 0, message);
      if (stateful) answerBy();
      tape?.sentWhole(to, out, 0, message.length, 0);
    },
    stream: () => false,
    dial: () => false,
    handOver: () => {},
    flows: new Flows(createFlows(), () => false),
    peers: new Peers(createPeers()),
    isOpen: () => false,
    cut: () => {},
    seconds: () => 1,
    now: () => clock,
  },
  {
    drop: (r) => console.log('drop', r),
    local: () => {},
    requestTo: () => {},
    requestFrom: () => {},
    responseFrom: () => {},
    refused: () => {},
    retransmission: () => {},
    failover: () => {},
    sought: () => {},
    largeRequest: () => {},
  },
  stateful ? new Exchanges(50_000, clock) : undefined,
  writer,
  tape,
);
/** Puts the branch of a forwarded request into its 200. */
function answerBy(): void {
  const isBye = out[0] === 0x42;
  if (out[0] !== 0x49 && !isBye) return;
  const [from, to] = isBye ? [sentBranch.bye, laid.byeOk.branch] : [sentBranch.invite, laid.ok.branch];
  for (let i = 0; i < 26; i++) block[to + i] = out[from + i]!;
}

const phone = endpoint('udp 127.0.0.1:7000');
const pbx = endpoint('udp 10.0.0.11:5060');
for (let round = 0; round < 4; round++) {
  const cpu = process.cpuUsage();
  const t = hrtime.bigint();
  for (let i = 0; i < pairs; i++) {
    if ((i & 0x3fff) === 0) marks[16] = marks[0]!;
    block.set(originals, 0);
    if (stateful) {
      call++;
      for (const message of Object.values(laid)) renumber(message);
      // Forty pairs in a millisecond, and every ten of those the timers.
      if (call % 40 === 0) clock++;
      if (call % 400 === 0) proxy.advance();
    }
    arena.used = 8192;
    proxy.handle(block, laid.invite.at, laid.invite.end, phone, 0);
    proxy.handle(block, laid.ok.at, laid.ok.end, pbx, 0);
    if (!calls) continue;
    proxy.handle(block, laid.ack.at, laid.ack.end, phone, 0);
    proxy.handle(block, laid.bye.at, laid.bye.end, phone, 0);
    proxy.handle(block, laid.byeOk.at, laid.byeOk.end, pbx, 0);
  }
  const { user, system } = process.cpuUsage(cpu);
  console.log(
    `${((user + system) / pairs).toFixed(3)} µs CPU per ${calls ? 'call' : 'pair'} (${(Number(hrtime.bigint() - t) / 1000 / pairs).toFixed(3)} µs elapsed), ${bytesOut} bytes`,
  );
}
