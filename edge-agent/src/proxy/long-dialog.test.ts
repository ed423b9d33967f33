import { expect, test } from 'vitest';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

/** A call that stands for hours: nothing of it is kept anywhere, so that whoever has the farm's key carries it on. */

const PHONE = 'udp 198.51.100.7:5060';
const PBX = ['udp 10.0.0.11:5060', 'udp 10.0.0.12:5060', 'udp 10.0.0.13:5060'];
const backends = ['a', 'b', 'c'].map((name, i) => ({ name, address: `10.0.0.${11 + i}` }));
/** The 24 bits that a token has for the second of its start end soon after. */
const START = Math.ceil(1_700_000_000 / 2 ** 24) * 2 ** 24 - 60;
const HOURS = 3600;

function established() {
  const a = agent({ backends, transactions: 'stateful' }, { transactions: 10, after: { now: START } });
  const invite = a.receive(request(), PHONE)!;
  const pbx = (invite.to.ip3 & 255) - 11;
  a.receive(answer(invite.text), PBX[pbx]!);
  return { pbx, routes: header(invite.text, 'Record-Route').map((r) => `Route: ${r}`) };
}
/** What the phone, or the PBX, sends in the call. */
const within = (method: string, by: 'phone' | 'pbx', routes: string[], cseq: number) =>
  request({
    method,
    cseq,
    more: routes,
    uri: by === 'phone' ? 'sip:clyde@10.0.0.99:5060' : 'sip:bonnie@198.51.100.7:5060',
    via: `SIP/2.0/UDP ${by === 'phone' ? '198.51.100.7' : '10.0.0.11'}:5060;branch=z9hG4bK${method}${cseq};rport`,
    ...(by === 'phone'
      ? { to: '<sip:clyde@example.com>;tag=t1' }
      : { from: '<sip:clyde@example.com>;tag=t1', to: 'Bonnie <sip:bonnie@example.com>;tag=b1' }),
  });

test.each([9, 24 * 7])('after %i hours an agent that never saw the call carries it on, from either side', (hours) => {
  const { pbx, routes } = established();
  const options = { number: 2, worker: 1, workers: 3, transactions: 10, after: { now: START + hours * HOURS } };
  const later = agent({ backends, transactions: 'stateful' }, options);
  let cseq = 10;
  for (const method of ['UPDATE', 'INVITE', 'INFO', 'REFER', 'NOTIFY', 'BYE']) {
    expect(later.receive(within(method, 'phone', routes, ++cseq), PHONE)?.to).toMatchObject(endpoint(PBX[pbx]!));
    expect(later.receive(within(method, 'pbx', routes, ++cseq), PBX[pbx]!)?.to).toMatchObject(endpoint(PHONE));
  }
  expect(later.drops).toEqual([]);
});

test('it keeps its PBX when that drains, when the order changes, and when others are added', () => {
  const { pbx, routes } = established();
  const changed = [
    { name: 'z', address: '10.0.0.20', weight: 100 },
    ...backends.map((b, i) => (i === pbx ? { ...b, drain: true } : b)),
  ];
  const later = agent({ backends: changed }, { after: { now: START + 9 * HOURS } });
  expect(later.receive(within('INVITE', 'phone', routes, 5), PHONE)?.to).toMatchObject(endpoint(PBX[pbx]!));
  expect(later.receive(within('BYE', 'phone', routes, 6), PHONE)?.to).toMatchObject(endpoint(PBX[pbx]!));
  // And nothing new gets there.
  for (let i = 0; i < 50; i++) {
    const register = request({
      method: 'REGISTER',
      uri: 'sip:example.com',
      to: `<sip:u${i}@example.com>`,
      callId: `r${i}`,
    });
    expect((later.receive(register, PHONE)!.to.ip3 & 255) - 11).not.toBe(pbx);
  }
});
