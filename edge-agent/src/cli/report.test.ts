import { expect, test } from 'vitest';
import type { CallResult } from '../health/call/result.ts';
import { nagiosLine } from './report.ts';

const ok: CallResult = {
  verdict: 'ok',
  reason: 'sip:31@192.0.2.1 answered, 50 packets sent, 50 received',
  phases: { invite: { ok: true, ms: 2.4, code: 100, evidence: '' }, bye: { ok: true, ms: 1, code: 200, evidence: '' } },
  audio: { sent: 50, received: 50, lost: 0, loss: 0, jitterMs: 1.5, early: 0, levelDb: -15.26 },
  clean: true,
  ms: 1234,
};

test('one line with performance data in base units', () => {
  expect(nagiosLine(ok)).toBe(
    'SIP OK - sip:31@192.0.2.1 answered, 50 packets sent, 50 received | total=1.234s invite=0.002s bye=0.001s ' +
      'sent=50 received=50 loss=0.0% jitter=0.002s level=-15.3',
  );
});

test('where and why it failed, and that something may be left; nothing of the peer’s can break the line', () => {
  const { audio: _audio, ...call } = ok;
  const failed: CallResult = {
    ...call,
    verdict: 'critical',
    phase: 'answer',
    reason: '500 a|b\r\nc',
    phases: {},
    clean: false,
  };
  expect(nagiosLine(failed)).toBe(
    'SIP CRITICAL - answer: 500 a/b c (something may be left behind at the peer) | total=1.234s',
  );
});
