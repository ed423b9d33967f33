import type { FarmInput } from '@sipfleet/contract';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { SipMessage, uriOf } from '../../edge-agent/src/sip/text-message.ts';
import { Agent, type AgentOptions } from '../interop/agent.ts';
import { OtlpReceiver, type ReceivedSpan, treesOf, treeText } from '../interop/otlp-receiver.ts';
import { Prometheus } from '../interop/prometheus.ts';
import { loopback } from '../netns/host.ts';
import { missingPeers } from '../setup/peers.ts';
import { canUseLoopback, freePort } from './loopback.ts';
import { ScriptedUas } from './scripted-uas.ts';

const AGENT = '127.0.9.1';
/** A kept call is told when it has been at rest for five seconds. */
const SOON = { timeout: 40_000, interval: 100 };
const CLIENT = 3;
const SERVER = 2;

describe.skipIf(!canUseLoopback)('traces', () => {
  let receiver: OtlpReceiver;
  let phone: ScriptedUas;
  let pbxs: ScriptedUas[];
  let service: { address: string; port: number };
  let agents: Agent[];

  beforeEach(async () => {
    receiver = await OtlpReceiver.start();
    phone = await ScriptedUas.start();
    // A call to `overloaded` is refused by whoever is asked first.
    const refused = new Set<string>();
    const script = (): Promise<ScriptedUas> =>
      ScriptedUas.start({
        INVITE: (r, from) => {
          const uas = pbxs.find((p) => p.requests.includes(r))!;
          const callId = r.get('call-id')!;
          const busy = r.get('to')!.includes('overloaded') && !refused.has(callId);
          refused.add(callId);
          const headers = r.list('record-route').map((route): [string, string] => ['Record-Route', route]);
          if (!busy) uas.reply(r, from, '180 Ringing', { headers });
          uas.reply(r, from, busy ? '503 Overloaded' : '200 OK', { sdp: 4000, headers });
        },
        REGISTER: (r, from) => pbxs.find((p) => p.requests.includes(r))!.reply(r, from, '200 OK'),
      });
    pbxs = [await script(), await script()];
    service = { address: AGENT, port: await freePort(AGENT) };
    agents = [];
  });
  afterEach(async () => {
    for (const agent of agents) await agent.close();
    for (const uas of [phone, ...pbxs]) uas.close();
    receiver.close();
  });

  async function start(options: Partial<AgentOptions> & { checks?: FarmInput['checks'] } = {}): Promise<Agent> {
    const { checks = [], more = [], ...rest } = options;
    const agent = await Agent.start({
      host: loopback(AGENT),
      workers: 2,
      more: ['--otlp-traces', receiver.url, '--recorder-sample', '1', ...more],
      farm: {
        kind: 'Farm',
        name: 'pbx',
        sites: ['milan'],
        listeners: [{ transport: 'udp', ...service }],
        backends: pbxs.map((pbx, i) => ({ name: `pbx${i + 1}`, address: '127.0.0.1', port: pbx.port })),
        checks,
        health: { maxConcurrentCalls: 8 },
        tracing: { traceparent: true },
      },
      ...rest,
    });
    agents.push(agent);
    return agent;
  }

  const message = (
    method: string,
    uri: string,
    callId: string,
    cseq: number,
    headers: [string, string][],
  ): SipMessage =>
    new SipMessage(`${method} ${uri} SIP/2.0`, [
      ['Via', `SIP/2.0/UDP 127.0.0.1:${phone.port};rport;branch=z9hG4bK-${callId}-${method}`],
      ['Max-Forwards', '70'],
      ['From', '<sip:bonnie@example.test>;tag=phone'],
      ['Call-ID', callId],
      ['CSeq', `${cseq} ${method}`],
      ['Contact', `<sip:bonnie@127.0.0.1:${phone.port}>`],
      ['Content-Length', '0'],
      ['Traceparent', `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`],
      ['tracestate', 'evil=1'],
      ...headers,
    ]);

  /** Sets a call up; resolves with its 200. */
  async function call(user: string, callId: string): Promise<SipMessage> {
    const to = `<sip:${user}@example.test>`;
    phone.send(message('INVITE', `sip:${user}@example.test`, callId, 1, [['To', to]]), service);
    await expect.poll(() => answers(callId, 'INVITE'), SOON).toHaveLength(1);
    const [answer] = answers(callId, 'INVITE');
    inDialog('ACK', answer!, 1);
    return answer!;
  }

  const answers = (callId: string, method: string): SipMessage[] =>
    phone.responses.filter((r) => r.get('call-id') === callId && r.method === method && r.status === 200);

  function inDialog(method: string, answer: SipMessage, cseq: number): void {
    const uri = uriOf(answer.get('contact')!)!.text;
    const routes = answer.list('record-route').reverse();
    const headers: [string, string][] = [
      ['To', answer.get('to')!],
      ...routes.map((r): [string, string] => ['Route', r]),
    ];
    phone.send(message(method, uri, answer.get('call-id')!, cseq, headers), service);
  }

  async function hangUp(answer: SipMessage): Promise<void> {
    inDialog('BYE', answer, 2);
    await expect.poll(() => answers(answer.get('call-id')!, 'BYE'), SOON).toHaveLength(1);
  }

  const treeOf = (callId: string): string[] => treesOf(receiver.trace(callId)).map(treeText);
  const named = (spans: readonly ReceivedSpan[], name: string): ReceivedSpan => spans.find((s) => s.name === name)!;
  /** Name of the backend that has the call. */
  const backendOf = (callId: string): string =>
    `pbx${pbxs.findIndex((p) => p.requests.some((r) => r.method === 'ACK' && r.get('call-id') === callId)) + 1}`;

  /** What was timed of the calls so far, as it was pushed: sound histograms, every exemplar of which is a span that was pushed as well. */
  async function exemplarsLeadToSpans(): Promise<void> {
    const timed = { session_request: 2, session_disconnect: 2 };
    for (const [what, calls] of Object.entries(timed)) {
      const latest = () => receiver.histograms.findLast((h) => h.name === `sipfleet_${what}_delay_seconds`);
      await expect.poll(() => latest()?.count, SOON).toBe(calls);
      const { start, time, counts, bounds, sum, exemplars, attributes } = latest()!;
      expect(attributes).toMatchObject({ farm: 'pbx', agent: 'edge' });
      expect(counts.length).toBe(bounds.length + 1);
      expect(counts.reduce((all, n) => all + n, 0)).toBe(calls);
      expect(exemplars.length).toBe(counts.filter((n) => n > 0).length);
      for (const { traceId, spanId, value, time: at } of exemplars) {
        expect(start > 0n && start <= at && at <= time, `${start} ${at} ${time}`).toBe(true);
        expect(value > 0 && value <= sum, `${value} of ${sum}`).toBe(true);
        // The bucket that it stands for has it.
        expect(counts[bounds.filter((bound) => bound < value).length]).toBeGreaterThan(0);
        const span = receiver.spans.find((s) => s.traceId === traceId && s.spanId === spanId);
        expect(['plain@phone', 'moved@phone']).toContain(span?.attributes['sip.call_id']);
      }
    }
  }

  test('a plain call, one that failed over, and a check, span by span, with the evidence; metrics lead there', async () => {
    const check = { name: 'line', type: 'register' as const, interval: '4s', timeout: '1s', credentials: 'probe' };
    const agent = await start({
      checks: [check],
      secrets: { probe: { username: 'probe', password: 'p' } },
      more: ['--otlp-metrics', `${receiver.endpoint}/v1/metrics`, '--push-interval', '1s'],
    });
    const plain = await call('clyde', 'plain@phone');
    const moved = await call('overloaded', 'moved@phone');
    await hangUp(plain);
    await hangUp(moved);

    await expect.poll(() => backendOf('plain@phone'), SOON).not.toBe('pbx0');
    const backend = backendOf('plain@phone');
    await expect
      .poll(() => treeOf('plain@phone'), SOON)
      .toEqual([`call(INVITE(INVITE ${backend}) BYE(BYE ${backend}))`]);
    const spans = receiver.trace('plain@phone');
    const port = pbxs[Number(backend.at(-1)) - 1]!.port;
    expect(named(spans, 'INVITE')).toMatchObject({
      kind: SERVER,
      error: undefined,
      attributes: {
        'network.protocol.name': 'sip',
        'network.transport': 'udp',
        'network.peer.address': '127.0.0.1',
        'network.peer.port': phone.port,
        'server.address': AGENT,
        'server.port': service.port,
        'sip.response.status_code': 200,
        'sip.backend': backend,
        'sip.decision': 'hash',
        'sip.decision.key': 'user',
        'sip.decision.candidates': expect.arrayContaining(['pbx1', 'pbx2']),
        'sip.decision.excluded': [],
        'sip.config.revision': 1,
      },
      events: ['sent 100', 'sent 180', 'received ACK'],
    });
    expect(named(spans, `INVITE ${backend}`)).toMatchObject({
      kind: CLIENT,
      attributes: { 'network.peer.port': port, 'server.port': port, 'sip.attempt': 1, 'sip.response.status_code': 200 },
    });
    expect(named(spans, 'call')).toMatchObject({
      parentId: '',
      attributes: { 'sip.call_id': 'plain@phone', 'sip.kept_because': ['sampled'], 'sip.farm': 'pbx' },
      resource: { 'service.name': 'sipfleet-agent', 'sipfleet.agent': 'edge' },
    });
    // The span of an attempt is in the branch that its PBX saw, and in the header, whatever the phone wrote there.
    const span = named(spans, `INVITE ${backend}`);
    const seen = pbxs[Number(backend.at(-1)) - 1]!.requests.find((r) => r.get('call-id') === 'plain@phone')!;
    const branch = /branch=z9hG4bK([A-Za-z0-9_-]{26})/.exec(seen.list('via')[0]!)![1]!;
    expect(Buffer.from(branch, 'base64url').subarray(0, 8).toString('hex')).toBe(span.spanId);
    expect(seen.all('traceparent')).toEqual([`00-${span.traceId}-${span.spanId}-01`]);
    expect(seen.all('tracestate')).toEqual([]);

    const taken = backendOf('moved@phone');
    const refusing = taken === 'pbx1' ? 'pbx2' : 'pbx1';
    const tree = `call(INVITE(INVITE ${refusing} INVITE ${taken}) BYE(BYE ${taken}))`;
    await expect.poll(() => treeOf('moved@phone'), SOON).toEqual([tree]);
    const attempts = receiver.trace('moved@phone');
    expect(named(attempts, `INVITE ${refusing}`)).toMatchObject({
      error: 'status 503',
      attributes: { 'sip.failover.cause': 'status 503', 'sip.response.status_code': 503, 'error.type': 'status 503' },
    });
    expect(named(attempts, 'call').attributes['sip.kept_because']).toContain('failover');

    const isCheck = ({ name, attributes }: ReceivedSpan): boolean =>
      name === 'check line' && attributes['sip.check.result'] === 'success';
    await expect.poll(() => receiver.spans.some(isCheck), SOON).toBe(true);
    const probed = receiver.spans.find(isCheck)!;
    const probe = receiver.spans.filter((s) => s.traceId === probed.traceId);
    expect(treesOf(probe).map(treeText)).toEqual(['check line(resolve connect register unregister)']);
    expect(probed.attributes).toMatchObject({ 'sip.farm': 'pbx', 'network.transport': 'udp' });
    expect(named(probe, 'register').attributes['sip.response.status_code']).toBe(200);

    await exemplarsLeadToSpans();
    // The log leads there too, for a call that something was wrong with.
    const id = named(attempts, 'call').traceId;
    await agent.process.sees(new RegExp(`"trace_id":"${id}".*"callId":"moved@phone".*"msg":"a call was kept"`));
    expect(await agent.metric('sipfleet_trace_spans_total')).toBeGreaterThan(9);
    expect(await agent.metric('sipfleet_trace_spans_dropped_total')).toBe(0);
  });

  test.skipIf(missingPeers().includes('prometheus'))(
    'a Prometheus that scrapes, and one that is written to, has exemplars that lead to the spans of a call',
    async () => {
      const prometheus = await Prometheus.start({ args: ['--enable-feature=exemplar-storage'] });
      onTestFinished(() => prometheus.close());
      const write = ['--remote-write', `${prometheus.url}/api/v1/write`, '--push-interval', '1s'];
      const agent = await start({ more: write });
      await prometheus.watch('agent', agent.admin);
      await hangUp(await call('clyde', 'exemplary@phone'));
      await expect.poll(() => receiver.trace('exemplary@phone').length, SOON).toBeGreaterThan(0);

      const job = async (name: string) => {
        const query = `sipfleet_session_request_delay_seconds_bucket{job="${name}",farm="pbx",result="success"}`;
        const found = await prometheus.exemplars(query);
        return found.map(({ labels }) => labels);
      };
      const { traceId } = named(receiver.trace('exemplary@phone'), 'call');
      const spanId = expect.toSatisfy((id) => receiver.trace('exemplary@phone').some((span) => span.spanId === id));
      for (const name of ['agent', 'sipfleet-agent'])
        await expect.poll(() => job(name), SOON).toEqual([{ trace_id: traceId, span_id: spanId }]);
      // What is scraped and what is pushed have the same names and labels.
      const series = await prometheus.now('count by (__name__) ({__name__=~"sipfleet_.+",agent="edge"})');
      const once = await prometheus.now('count by (__name__) ({__name__=~"sipfleet_.+",job="agent"})');
      expect(series.map(({ metric, value }) => [metric.__name__, value / 2])).toEqual(
        once.map(({ metric, value }) => [metric.__name__, value]),
      );
    },
  );

  test('a call that moved to another agent is one trace', async () => {
    const first = await start({ name: 'edge-a', number: 1 });
    const answer = await call('clyde', 'wanders@phone');
    const setUp = (): boolean => receiver.trace('wanders@phone').some((s) => s.name === 'INVITE');
    await expect.poll(setUp, SOON).toBe(true);
    first.process.signal('SIGKILL');
    await first.process.exited;
    await start({ name: 'edge-b', number: 2 });
    await hangUp(answer);

    const backend = backendOf('wanders@phone');
    await expect
      .poll(() => treeOf('wanders@phone'), SOON)
      .toEqual([`call(INVITE(INVITE ${backend}) BYE(BYE ${backend}))`]);
    const spans = receiver.trace('wanders@phone');
    expect(new Set(spans.map((s) => s.traceId)).size).toBe(1);
    const by = (name: string): unknown => named(spans, name).resource['sipfleet.agent'];
    expect([by('INVITE'), by('BYE'), by('call')]).toEqual(['edge-a', 'edge-b', 'edge-b']);
    expect(named(spans, 'call').attributes['sip.dialog.joined']).toBe(true);
    // Its token says when it began, to the second.
    expect(named(spans, 'call').start).toBeLessThanOrEqual(named(spans, 'INVITE').start);
  });

  test('what the receiver does not take waits on disk and is sent when it is back', async () => {
    receiver.status = 503;
    const agent = await start();
    await hangUp(await call('clyde', 'waits@phone'));
    await expect.poll(() => agent.metric('sipfleet_push_spool_bytes', 'otlp-traces'), SOON).toBeGreaterThan(0);
    receiver.status = 200;
    await expect.poll(() => treeOf('waits@phone').map((tree) => tree.slice(0, 12)), SOON).toEqual(['call(INVITE(']);
    await expect.poll(() => agent.metric('sipfleet_push_spool_bytes', 'otlp-traces'), SOON).toBe(0);
    expect(agent.process.output).toMatch(/spans cannot be pushed: they wait on disk[\s\S]*spans are pushed again/);
  });
});
