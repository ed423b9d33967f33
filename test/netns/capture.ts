import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Namespace } from './namespace.ts';
import { DEADLINE, type Process, run } from './process.ts';
import { readMessage, type WireMessage } from './wire.ts';

/** Nothing listens there; see INTERNET in topology.ts. */
const NOWHERE = '10.77.0.254/9';

/** Records the SIP on a namespace's link, and reads it back message by message. */
export class Capture {
  readonly #namespace: Namespace;
  readonly #process: Process;
  readonly #directory: string;
  #marks = 0;

  private constructor(namespace: Namespace, device: string) {
    this.#namespace = namespace;
    this.#directory = mkdtempSync(join(tmpdir(), 'sipfleet-capture-'));
    // Into a pipe or standard output dumpcap flushes every batch, into a file of its own only at its end.
    const command = `exec dumpcap -q -i ${device} -f 'udp or tcp or (ip[6:2] & 0x1fff != 0)' -P -w - > ${this.#file}`;
    this.#process = namespace.spawn('bash', ['-c', command]);
  }

  /** Resolves once packets are being recorded. */
  static async start(namespace: Namespace, device = 'eth0'): Promise<Capture> {
    const capture = new Capture(namespace, device);
    await capture.#upToNow();
    return capture;
  }

  /** Stops recording once all that has happened so far is recorded, and decodes. May be called once. */
  async stop(): Promise<WireMessage[]> {
    try {
      await this.#upToNow();
      await this.#process.end('SIGINT');
      return await decode(this.#file);
    } finally {
      rmSync(this.#directory, { recursive: true, force: true });
    }
  }

  get #file(): string {
    return join(this.#directory, 'wire.pcap');
  }

  /** The kernel hands packets to dumpcap in blocks: sends a packet of our own and waits until that is recorded. */
  async #upToNow(): Promise<void> {
    const mark = `sipfleet-mark-${process.pid}-${this.#marks++}.`;
    const until = Date.now() + DEADLINE;
    while (Date.now() < until && this.#process.alive) {
      await this.#namespace.run('bash', ['-c', `echo -n ${mark} > /dev/udp/${NOWHERE}`]);
      await new Promise((resolve) => setTimeout(resolve, 50));
      // The shell that makes the file may not have come to it yet.
      if (existsSync(this.#file) && readFileSync(this.#file).includes(mark)) return;
    }
    throw new Error(`dumpcap does not record in ${this.#namespace.name}:\n${this.#process.output}`);
  }
}

const FIELDS = [
  'frame.time_epoch',
  'ip.src',
  'ip.dst',
  'ipv6.src',
  'ipv6.dst',
  'udp.srcport',
  'udp.dstport',
  'tcp.srcport',
  'tcp.dstport',
];

interface Layer {
  [name: string]: unknown;
}

/** tshark's `sip_raw`: [hex, position, length, …], or a list of those where one segment carries several messages. */
function rawMessages(layers: Layer): string[] {
  const raw = layers.sip_raw as unknown[] | undefined;
  if (!raw) return [];
  const list = (Array.isArray(raw[0]) ? raw : [raw]) as unknown[][];
  return list.map(([hex]) => Buffer.from(hex as string, 'hex').toString('latin1'));
}

async function decode(file: string): Promise<WireMessage[]> {
  // Into a file: this is far more text than a process's output is kept for.
  const json = `${file}.json`;
  const options = "-Y sip -T json -x --no-duplicate-keys -J 'frame ip ipv6 udp tcp sip'";
  await run('bash', ['-c', `exec tshark -r ${file} ${options} > ${json}`]);
  const packets = JSON.parse(readFileSync(json, 'utf8')) as { _source: { layers: Layer } }[];
  return packets.flatMap(({ _source: { layers } }) => {
    const field = (name: string) => (layers[name.split('.')[0] as string] as Layer | undefined)?.[name];
    const [time, ip4, to4, ip6, to6, udpFrom, udpTo, tcpFrom, tcpTo] = FIELDS.map((name) => field(name) as string);
    const transport = udpFrom ? 'udp' : 'tcp';
    return rawMessages(layers).map((text) => ({
      ...readMessage(text),
      time: Number(time),
      transport,
      source: { address: (ip4 ?? ip6) as string, port: Number(udpFrom ?? tcpFrom) },
      destination: { address: (to4 ?? to6) as string, port: Number(udpTo ?? tcpTo) },
    }));
  }) as WireMessage[];
}
