import type { Socket } from 'node:dgram';
import { connect, type Socket as Stream } from 'node:net';
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
async function overTcp(bytes: Uint8Array, port: number): Promise<{ closed: boolean; answers: string[] }> {
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
function bridged(expected: Expected, transport: 'udp' | 'tcp'): Expected {
  if (transport === 'udp' || expected.outcome !== 'forwarded') return expected;
  const twice = expected.gains.flatMap((name) => (name === 'Record-Route' ? [name, name] : [name]));
  return { ...expected, gains: twice };
}

/** RFC 5118 uses some branches again, which would be retransmissions for one agent: the n-th use goes to the n-th agent. */
function usesBefore(entry: Entry): number {
  const transaction = ({ file }: Entry) => {
    const text = latin1(readMessage(file));
    return `${split(text).start.split(' ')[0]} ${vias(text)[0]}`;
  };
  return CORPUS.slice(0, CORPUS.indexOf(entry)).filter((other) => transaction(other) === transaction(entry)).length;
}

const ENTRIES = CORPUS.map((entry) => ({ ...entry, agent: usesBefore(entry) }));

/** Needs no root. */
describe.skipIf(!canUseLoopback).each(['udp', 'tcp'] as const)('RFC 4475 and RFC 5118 over %s', (transport) => {
  const agents: Agent[] = [];
  let pbx: RawPbx;

  beforeAll(async () => {
    pbx = new RawPbx(await bound(PBX));
    const backends = [{ name: 'pbx1', address: PBX, port: pbx.socket.address().port }];
    for (let i = 0; i <= Math.max(...ENTRIES.map((entry) => entry.agent)); i++) {
      const service = { address: AGENT, port: await freePort(AGENT) };
      const listeners = (['udp', 'tcp'] as const).map((name) => ({ transport: name, ...service }));
      const farm = { kind: 'Farm' as const, name: 'pbx', sites: ['milan'], listeners, backends };
      // One worker, so that a fence comes behind what it follows.
      agents.push(await Agent.start({ host: loopback(AGENT), workers: 1, name: `edge${i}`, farm }));
    }
  });
  afterAll(async () => {
    await Promise.all(agents.map((agent) => agent.close()));
    pbx.socket.close();
  });

  test.each(ENTRIES.filter(({ stream }) => transport === 'udp' || stream === undefined || stream === 'closed'))(
    '$file: $about',
    async ({ file, expected, knownDefect, stream, agent }) => {
      const bytes = readMessage(file);
      const input = latin1(bytes);
      const before = pbx.requests.length;
      const port = agents[agent]!.port(transport);
      const seen =
        transport === 'udp' ? { closed: false, answers: await overUdp(bytes, port) } : await overTcp(bytes, port);
      const requests = pbx.of(callIdOf(input), before);
      expect(seen.closed).toBe(transport === 'tcp' && stream === 'closed');
      if (seen.closed) expect(requests).toEqual([]);
      else check(input, bridged(knownDefect?.now ?? expected, transport), requests, seen.answers);
    },
  );

  test.each(ENTRIES.filter(({ stream }) => transport === 'tcp' && stream === 'waits'))(
    '$file: the rest of the body is waited for, and what follows it is read',
    async ({ file, agent }) => {
      const bytes = readMessage(file);
      const { lines, body } = split(latin1(bytes));
      const length = Number(lines.find((line) => nameOf(line) === 'content-length')!.replace(/\D/g, ''));
      const whole = Buffer.concat([bytes, Buffer.alloc(length - body.length, 32)]);
      expect(await overTcp(whole, agents[agent]!.port('tcp'))).toMatchObject({ closed: false });
    },
  );

  test('the agents have lost no data thread', async () => {
    for (const agent of agents) expect(await agent.metric('sipfleet_worker_restarts_total')).toBe(0);
  });
});
