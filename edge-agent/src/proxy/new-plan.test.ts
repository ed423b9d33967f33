import { expect, test } from 'vitest';
import { agent, answer, request } from './proxy.fixture.ts';

test.each([
  ['the same', ['11', '12', '13', '14']],
  ['in another order', ['14', '12', '11', '13']],
])('a new plan between a challenge and its answer, backends %s: the answer goes to who challenged', (_, order) => {
  const farm = (numbers: string[]) => ({
    balancing: { strategy: 'weighted-round-robin' as const },
    backends: numbers.map((n) => ({ name: `pbx${n}`, address: `10.0.0.${n}` })),
  });
  const before = agent(farm(['11', '12', '13', '14']));
  const register = (i: number, more: string[] = []) =>
    request({ method: 'REGISTER', uri: 'sip:example.com', callId: `r${i}`, cseq: 1 + more.length, more });
  const phones = Array.from({ length: 12 }, (_, i) => i);
  const challengers = phones.map((i) => {
    const { to, text } = before.receive(register(i), `udp 198.51.100.7:${6000 + i}`)!;
    const challenge = [`WWW-Authenticate: Digest realm="r", nonce="n${i}"`];
    before.receive(answer(text, '401 Unauthorized', 't', challenge), `udp 10.0.0.${to.ip3 & 255}:5060`);
    return to;
  });
  const now = before.clock.seconds + 1;
  const after = agent(farm(order), { after: { now, plan: before.plan } });
  const retried = (i: number) =>
    after.receive(register(i, [`Authorization: Digest nonce="n${i}"`]), `udp 198.51.100.7:${6000 + i}`)!.to;
  expect(phones.map(retried)).toEqual(challengers);
});

test.each(['weighted-round-robin', 'least-sessions'] as const)(
  'a new plan within a transaction that is not kept, %s: what the caller repeats and what it cancels go where the call began',
  (strategy) => {
    const farm = (numbers: string[]) => ({
      balancing: { strategy },
      backends: numbers.map((n) => ({ name: `pbx${n}`, address: `10.0.0.${n}` })),
    });
    const before = agent(farm(['11', '12', '13', '14']));
    const calls = Array.from({ length: 12 }, (_, i) => i);
    const send = (a: typeof before, method: string, i: number) =>
      a.receive(request({ method, callId: `c${i}` }), `udp 198.51.100.7:${6000 + i}`)!.to;
    const places = calls.map((i) => send(before, 'INVITE', i));
    const now = before.clock.seconds + 1;
    const after = agent(farm(['14', '12', '11']), { after: { now, plan: before.plan } });
    for (const i of calls.filter((n) => (places[n]!.ip3 & 255) !== 13)) {
      expect(send(after, 'INVITE', i)).toEqual(places[i]);
      expect(send(after, 'CANCEL', i)).toEqual(places[i]);
    }
  },
);

test('a call that its PBX passes on as a proxy: the caller is still led to the first PBX', () => {
  const sut = agent({ balancing: { strategy: 'weighted-round-robin' } });
  const caller = (method: string) => sut.receive(request({ method, callId: 'same' }), 'udp 198.51.100.7:6000')!.to;
  const first = caller('INVITE');
  const passed = sut.receive(request({ callId: 'same' }), `udp 10.0.0.${first.ip3 & 255}:5060`)!.to;
  expect(passed).not.toEqual(first);
  expect(caller('CANCEL')).toEqual(first);
});
