import { expect, test } from 'vitest';
import { CheckTraces, checkSpans, type ProbedCheck } from './check-traces.ts';

const END = Date.UTC(2026, 0, 1);
const probe = (more: Partial<ProbedCheck> = {}): ProbedCheck => ({
  farm: 'pbx',
  backend: 'pbx1',
  check: 'dummy',
  peer: '10.0.0.11:5060',
  transport: 'udp',
  result: 'success',
  evidence: 'ok',
  seconds: 0.5,
  ...more,
});

test('a call check: its phases one after the other, the one that failed named', () => {
  const phases = {
    invite: { ok: true, ms: 20, code: 100, evidence: '100 Trying' },
    answer: { ok: true, ms: 80, code: 200 },
    media: { ok: false, ms: 300, evidence: '150 packets sent, 0 received' },
  };
  const [root, ...children] = checkSpans(
    probe({ result: 'failure', phase: 'media', evidence: 'no audio', phases }),
    END,
  );
  expect(root).toMatchObject({
    name: 'check dummy',
    parentId: undefined,
    start: END - 500,
    end: END,
    error: 'media',
    attributes: {
      'network.protocol.name': 'sip',
      'network.peer.address': '10.0.0.11',
      'server.port': 5060,
      'sip.backend': 'pbx1',
      'sip.check.result': 'failure',
      'sip.check.phase': 'media',
      'sip.check.evidence': 'no audio',
    },
  });
  expect(children.map((d) => [d.name, d.start - END, d.end - END, d.error])).toEqual([
    ['invite', -500, -480, undefined],
    ['answer', -480, -400, undefined],
    ['media', -400, -100, 'failed'],
  ]);
  expect(children.every((d) => d.parentId === root!.spanId && d.traceId === root!.traceId)).toBe(true);
  expect(children[0]!.attributes['sip.response.status_code']).toBe(100);
});

test('told are changes, a failure that lasts once a minute, and a sampled share of the rest', () => {
  let now = END;
  let chance = 0.5;
  const told: string[] = [];
  const traces = new CheckTraces({
    add: ([root]) => told.push(`${root!.attributes['sip.check.result']} ${(now - END) / 1000}`),
    now: () => now,
    sampled: 0.1,
    random: () => chance,
  });
  const probed = (result: string, after = 5): void => {
    now += after * 1000;
    traces.probed(probe({ result }));
  };
  probed('success');
  probed('failure');
  for (let i = 0; i < 13; i++) probed('failure');
  probed('success');
  probed('success');
  chance = 0.05;
  probed('success');
  expect(told).toEqual(['failure 10', 'failure 70', 'success 80', 'success 90']);
  traces.retain([]);
  chance = 0.5;
  probed('failure');
  expect(told.at(-1)).toBe('failure 95');
});
