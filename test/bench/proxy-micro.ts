import { hrtime } from 'node:process';
import { createFlows, Flows } from '../../edge-agent/src/proxy/flows.ts';
import { createPeers, Peers } from '../../edge-agent/src/proxy/peers.ts';
import { agent, answer, endpoint, FARM } from '../../edge-agent/src/proxy/proxy.fixture.ts';
import { SipProxy } from '../../edge-agent/src/proxy/proxy.ts';
import { createEventRing, EventWriter, monotonic } from '../../edge-agent/src/telemetry/events.ts';
import { createTape, TapeWriter } from '../../edge-agent/src/telemetry/tape.ts';

/**
 * CPU time of the proxy alone (parse, decide, edit), no sockets: one INVITE and its 200, as blast.c writes them.
 *
 *   node test/bench/proxy-micro.ts [pairs] [off | events | tape]
 *
 * `events`: it also tells the control thread (which is not there to read); `tape`: and records every message, both ways. Default: off.
 */
const pairs = Number(process.argv[2] ?? 500_000);
const telemetry = process.argv[3] ?? 'off';
const ring = createEventRing();
const writer = telemetry === 'off' ? undefined : new EventWriter(ring);
const tape = telemetry === 'tape' ? new TapeWriter(createTape(1 << 24), monotonic) : undefined;
/** The reader, as far as the writer sees it: the ring is never full. */
const marks = new Int32Array(ring);
const node = agent({ ...FARM, listeners: [{ transport: 'udp', address: '127.0.0.1', port: 5060 }] });
const sdp =
  'v=0\r\no=bonnie 2890844526 2890844526 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n';
const invite = [
  'INVITE sip:clyde123@example.com SIP/2.0',
  'Via: SIP/2.0/UDP 127.0.0.1:7000;branch=z9hG4bK-12345-1;rport',
  'Max-Forwards: 70',
  'From: Bonnie <sip:bonnie123@example.com>;tag=192830177412345',
  'To: Clyde <sip:clyde123@example.com>',
  'Call-ID: a84b4c76e66710-12345@127.0.0.1',
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
const ok = answer(forwarded).replaceAll('\r\n', '\n').replaceAll('\n', '\r\n');

const block = new Uint8Array(1 << 20);
const arena = { bytes: block, used: 4096 };
const encoder = new TextEncoder();
const inviteLength = encoder.encodeInto(invite, block).written;
const original = block.slice(0, inviteLength);
const okAt = 2048;
const okLength = encoder.encodeInto(ok, block.subarray(okAt)).written;
let bytesOut = 0;
const proxy = new SipProxy(
  node.runtime,
  {
    arena: () => arena,
    datagram: (_l, to, message) => {
      bytesOut += message.length;
      tape?.sent(to, message, 0);
    },
    stream: () => false,
    dial: () => false,
    handOver: () => {},
    flows: new Flows(createFlows(), () => false),
    peers: new Peers(createPeers()),
    isOpen: () => false,
    cut: () => {},
    seconds: () => 1,
    now: () => 1,
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
  undefined,
  writer,
  tape,
);
const phone = endpoint('udp 127.0.0.1:7000');
const pbx = endpoint('udp 10.0.0.11:5060');
for (let round = 0; round < 4; round++) {
  const cpu = process.cpuUsage();
  const t = hrtime.bigint();
  for (let i = 0; i < pairs; i++) {
    if ((i & 0x3fff) === 0) marks[16] = marks[0]!;
    block.set(original, 0);
    arena.used = 4096;
    proxy.handle(block, 0, inviteLength, phone, 0);
    proxy.handle(block, okAt, okAt + okLength, pbx, 0);
  }
  const { user, system } = process.cpuUsage(cpu);
  console.log(
    `${((user + system) / pairs).toFixed(3)} µs CPU per pair (${(Number(hrtime.bigint() - t) / 1000 / pairs).toFixed(3)} µs elapsed), ${bytesOut} bytes`,
  );
}
