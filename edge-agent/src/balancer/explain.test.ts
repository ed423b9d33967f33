import { expect, test } from 'vitest';
import { agent, endpoint, request } from '../proxy/proxy.fixture.ts';
import { explain } from './explain.ts';

const CALLER = 'udp 198.51.100.8:5060';
const backends = ['a', 'b', 'c'].map((name, i) => ({ name, address: `10.0.0.${11 + i}` }));
const NOW = 1_700_000_000;

test('while registrations lag, what is explained is what happens: also a backend that drains, and one that came back', () => {
  const registration = { maxExpires: '2m' };
  const before = agent({ backends, registration });
  const drained = backends.map((b) => ({ ...b, drain: b.name === 'a' }));
  const a = agent({ backends: drained, registration }, { after: { now: NOW, plan: before.plan } });
  a.setState(1, 'down');
  a.clock.seconds += 90;
  a.setState(1, 'up');
  const seen = new Set<string>();
  for (const seconds of [0, 29, 31, 119, 121]) {
    a.clock.seconds = NOW + 90 + seconds;
    for (let i = 0; i < 40; i++) {
      const text = request({ uri: `sip:user${i}@example.com`, callId: `c${i}-${seconds}` });
      const sent = (a.receive(text, CALLER)!.to.ip3 & 255) - 11;
      const bytes = Buffer.from(text.replaceAll('\n', '\r\n'));
      const why = explain(a.plan.farms[0]!, bytes, endpoint(CALLER), -1, a.clock.seconds)!;
      expect(why.candidates.find((c) => c.chosen)?.backend).toBe(backends[sent]!.name);
      seen.add(`${seconds} ${backends[sent]!.name}`);
    }
  }
  // It drained 90 s before the first of them, and lags for 30 s more.
  expect([...seen].filter((s) => s.endsWith('a'))).toEqual(['0 a', '29 a']);
  // It was away for most of a period, and is asked first again after one.
  expect([...seen].filter((s) => s.endsWith('b'))).toEqual(['121 b']);
});
