import type { Socket } from 'node:dgram';
import { connect, type Socket as Stream } from 'node:net';
import type { FarmInput } from '@sipfleet/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkAnswer, checkForwarded } from '../corpus/check.ts';
import { CORPUS, type Entry, type Expected, readMessage } from '../corpus/corpus.ts';
import { nameOf, split, withoutSource } from '../corpus/raw.ts';
import { Agent } from '../interop/agent.ts';
import { loopback } from '../netns/host.ts';
import { bound, canUseLoopback, freePort, request } from './loopback.ts';

const AGENT = '127.0.0.1';
const PBX = '127.0.1.1';
const PHONE = '127.0.2.1';
const TRANSPORTS = ['udp', 'tcp'] as const;
type Transport = (typeof TRANSPORTS)[number];

/** A fence is sent again after this: a receive buffer may overflow. */
const RESEND_MS = 1_000;

const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');
const linesOf = (message: string, ...names: string[]): string[] =>
  split(message).lines.filter((line) => names.includes(nameOf(line)));
const callIdOf = (message: string): string =>
  linesOf(message, 'call-id')
    .join()
    .replace(/^[^:]*:\s*/, '');
const vias = (message: string): string[] => linesOf(message, 'via').map(withoutSource);
const isFinal = (message: string): boolean => /^SIP\/2\.0 [2-6]/.test(message);

/** Answers every request with 200, copied without being understood, and keeps what came. */
class RawPbx {
  readonly socket: Socket;
  readonly requests: string[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('message', (bytes, from) => {
      const text = latin1(bytes);
      if (/^SIP\/2\.0 /.test(text)) return;
      this.requests.push(text);
      const copied = linesOf(text, 'via', 'from', 'to', 'call-id', 'cseq');
      const answer = ['SIP/2.0 200 OK', ...copied, 'Content-Length: 0', '', ''].join('\r\n');
      socket.send(Buffer.from(answer, 'latin1'), from.port, from.address);
    });
  }

  /** The requests of a call since there were `from`, the same one twice only once. */
  of(callId: string, from: number): string[] {
    return [...new Set(this.requests.slice(from).filter((text) => callIdOf(text) === callId))];
  }
}

let fences = 0;

/** A request that overtakes nothing: once its answer is here, all that went before it has been dealt with. */
function fenceOf(): { callId: string; text: string } {
  const callId = `fence-${fences++}`;
  return { callId, text: request('OPTIONS', 'fence', callId, { address: PHONE, port: 5060 }) };
}

/** Sends over UDP from a phone of its own. Resolves with what came back before the answer to a fence. */
async function overUdp(bytes: Uint8Array, port: number): Promise<string[]> {
  const phone = await bound(PHONE);
  const fence = fenceOf();
  const answers: string[] = [];
  const send = () => phone.send(fence.text, port, AGENT);
  const timer = setInterval(send, RESEND_MS);
  await new Promise<void>((resolve) => {
    phone.on('message', (message) => {
      const text = latin1(message);
      if (callIdOf(text) !== fence.callId) answers.push(text);
      else if (isFinal(text)) resolve();
    });
    phone.send(bytes, port, AGENT);
    send();
  });
  clearInterval(timer);
  phone.close();
  return answers;
}

/** Cuts what a stream brought into messages; none here has a body. */
const messagesIn = (stream: string): string[] => stream.split(/(?<=\r\n\r\n)/);

/** Sends on a connection of its own with a fence behind. `closed`: the agent gave the connection up before it came to the fence. */
async function overTcp(bytes: Uint8Array, port: number): Promise<Seen> {
  const fence = fenceOf();
  let stream: Stream;
  let received = '';
  const closed = await new Promise<boolean>((resolve) => {
    stream = connect(port, AGENT, () => stream.write(Buffer.concat([bytes, Buffer.from(fence.text)])));
    stream.on('error', () => {}).on('close', () => resolve(true));
    stream.on('data', (chunk) => {
      received += latin1(chunk);
      if (messagesIn(received).some((text) => isFinal(text) && callIdOf(text) === fence.callId)) resolve(false);
    });
  });
  stream!.destroy();
  return { closed, answers: messagesIn(received).filter((text) => text !== '' && callIdOf(text) !== fence.callId) };
}

interface Seen {
  closed: boolean;
  answers: string[];
}

/** An agent whose machine is busy refuses what is new, and remembers nothing of that. */
const isTurnedAway = ({ answers }: Seen): boolean => answers.some((text) => text.startsWith('SIP/2.0 503 '));

async function told(transport: Transport, bytes: Uint8Array, port: number): Promise<Seen> {
  for (;;) {
    const seen =
      transport === 'udp' ? { closed: false, answers: await overUdp(bytes, port) } : await overTcp(bytes, port);
    if (!isTurnedAway(seen)) return seen;
  }
}

/** Holds what the corpus expects of what reached the PBX and what came back. */
function check(input: string, expected: Expected, requests: string[], answers: string[]): void {
  const finals = answers.filter(isFinal);
  if (expected.outcome === 'forwarded') {
    expect(requests).toHaveLength(1);
    checkForwarded(input, requests[0]!, expected);
    // The PBX's answer came back the same way, by the Vias as they were.
    expect(finals.map(vias)).toEqual([vias(input)]);
    return;
  }
  expect(requests).toEqual([]);
  expect(finals).toHaveLength(expected.outcome === 'answered' ? 1 : 0);
  if (expected.outcome === 'answered') checkAnswer(input, finals[0]!, expected);
}

/** The PBX speaks UDP: a dialog that comes by TCP gets a Record-Route for each side (RFC 5658). */
function bridged(expected: Expected, transport: Transport): Expected {
  if (transport === 'udp' || expected.outcome !== 'forwarded') return expected;
  const twice = expected.gains.flatMap((name) => (name === 'Record-Route' ? [name, name] : [name]));
  return { ...expected, gains: twice };
}

/**
 * RFC 5118 uses some branches again, which would be retransmissions for one farm: the n-th use goes to the n-th farm, whose keys, and so transactions,
 * are its own.
 */
function usesBefore(entry: Entry): number {
  const transaction = ({ file }: Entry) => {
    const text = latin1(readMessage(file));
    return `${split(text).start.split(' ')[0]} ${vias(text)[0]}`;
  };
  return CORPUS.slice(0, CORPUS.indexOf(entry)).filter((other) => transaction(other) === transaction(entry)).length;
}

const ENTRIES = CORPUS.map((entry) => ({ ...entry, farm: usesBefore(entry) }));
const FARMS = Math.max(...ENTRIES.map((entry) => entry.farm)) + 1;

/** One agent with a PBX behind it. A phone's messages, and the PBX's answers to them, each come to one of its workers, so that a fence comes behind what it follows. */
class Bed {
  readonly workers: number;
  readonly pbx: RawPbx;
  readonly agent: Agent;
  readonly #ports: Record<Transport, number[]>;

  private constructor(workers: number, pbx: RawPbx, agent: Agent, ports: Record<Transport, number[]>) {
    this.workers = workers;
    this.pbx = pbx;
    this.agent = agent;
    this.#ports = ports;
  }

  static async start(workers: number): Promise<Bed> {
    const pbx = new RawPbx(await bound(PBX));
    const backends = [{ name: 'pbx1', address: PBX, port: pbx.socket.address().port }];
    const ports: Record<Transport, number[]> = { udp: [], tcp: [] };
    const farms: FarmInput[] = [];
    for (const transport of TRANSPORTS)
      for (let i = 0; i < FARMS; i++) {
        const port = await freePort(AGENT);
        ports[transport].push(port);
        const listeners = TRANSPORTS.map((name) => ({ transport: name, address: AGENT, port }));
        farms.push({ kind: 'Farm', name: `${transport}${i}`, sites: ['milan'], listeners, backends });
      }
    const agent = await Agent.start({ host: loopback(AGENT), workers, farm: farms });
    return new Bed(workers, pbx, agent, ports);
  }

  port(transport: Transport, farm: number): number {
    return this.#ports[transport][farm]!;
  }

  async close(): Promise<void> {
    await this.agent.close();
    this.pbx.socket.close();
  }
}

/** Needs no root. One agent with one worker and one with three are told the same at once. */
describe.skipIf(!canUseLoopback)('RFC 4475 and RFC 5118', () => {
  const beds: Bed[] = [];

  beforeAll(async () => {
    // One after the other, since a port is free only until it is taken.
    for (const workers of [1, 3]) beds.push(await Bed.start(workers));
  });
  afterAll(() => Promise.all(beds.map((bed) => bed.close())));

  const onEach = (check: (bed: Bed) => Promise<void>) =>
    Promise.all(
      beds.map((bed) =>
        check(bed).catch((error: Error) => {
          error.message = `${bed.workers} workers: ${error.message}`;
          throw error;
        }),
      ),
    );
  const played = TRANSPORTS.flatMap((transport) =>
    ENTRIES.filter(({ stream }) => transport === 'udp' || stream === undefined || stream === 'closed').map((entry) => ({
      ...entry,
      transport,
    })),
  );

  test.each(played)(
    'over $transport: $file: $about',
    async ({ file, expected, knownDefect, stream, farm, transport }) => {
      const bytes = readMessage(file);
      const input = latin1(bytes);
      await onEach(async (bed) => {
        const before = bed.pbx.requests.length;
        const port = bed.port(transport, farm);
        const seen = await told(transport, bytes, port);
        const requests = bed.pbx.of(callIdOf(input), before);
        expect(seen.closed).toBe(transport === 'tcp' && stream === 'closed');
        if (seen.closed) expect(requests).toEqual([]);
        else check(input, bridged(knownDefect?.now ?? expected, transport), requests, seen.answers);
      });
    },
  );

  test.each(ENTRIES.filter(({ stream }) => stream === 'waits'))(
    'over tcp: $file: the rest of the body is waited for, and what follows it is read',
    async ({ file, farm }) => {
      const bytes = readMessage(file);
      const { lines, body } = split(latin1(bytes));
      const length = Number(lines.find((line) => nameOf(line) === 'content-length')!.replace(/\D/g, ''));
      const whole = Buffer.concat([bytes, Buffer.alloc(length - body.length, 32)]);
      await onEach(async (bed) => {
        expect(await overTcp(whole, bed.port('tcp', farm))).toMatchObject({ closed: false });
      });
    },
  );

  test('the agents have lost no data thread, and no message met with an error in one', async () => {
    await onEach(async ({ agent }) => {
      expect(await agent.metric('sipfleet_worker_restarts_total')).toBe(0);
      expect(await agent.metric('sipfleet_dropped_messages_total', 'reason="internal"')).toBe(0);
    });
  });
});
