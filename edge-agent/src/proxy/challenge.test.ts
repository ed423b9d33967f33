import { expect, test } from 'vitest';
import { agent, answer, request } from './proxy.fixture.ts';

const START = 1_700_000_000;
const CALLER = 'udp 198.51.100.8:5060';
const PBXS = ['11', '12', '13'];

/** An agent that started lately, before PBXs that challenge every call and know nobody. */
function caller() {
  const backends = PBXS.map((n) => ({ name: `pbx${n}`, address: `10.0.0.${n}` }));
  const sut = agent({ backends, transactions: 'stateful' }, { transactions: 100, after: { now: START } });
  let tries = 0;
  /** What the caller is told in the end, and who was asked on the way, in order. */
  const call = (callee: string, nonce = ''): { status: number; nonce: string; asked: string[] } => {
    const more = nonce ? [`Proxy-Authorization: Digest nonce="${nonce}"`] : [];
    const from = sut.sent.length;
    sut.receive(
      request({ uri: `sip:${callee}@example.com`, to: `<sip:${callee}@example.com>`, callId: `t${tries++}`, more }),
      CALLER,
    );
    const asked: string[] = [];
    for (let i = from; i < sut.sent.length; i++) {
      const { text, to } = sut.sent[i]!;
      const pbx = String(to.ip3 & 255);
      if (!text.startsWith('INVITE') || !PBXS.includes(pbx)) continue;
      asked.push(pbx);
      const known = nonce.startsWith(`${pbx}-`);
      const challenge = [`Proxy-Authenticate: Digest realm="r", nonce="${pbx}-${callee}-${i}"`];
      sut.receive(
        known ? answer(text, '404 Not Found', 't') : answer(text, '407 Proxy Authentication Required', 't', challenge),
        `udp 10.0.0.${pbx}:5060`,
      );
    }
    const final = sut.sent.slice(from).findLast(({ text }) => /^SIP\/2\.0 [4-6]/.test(text))!.text;
    return { status: Number(final.split(' ')[1]), nonce: /nonce="([^"]+)/.exec(final)?.[1] ?? '', asked };
  };
  return call;
}

test('a callee whom nobody knows, sought where every PBX challenges: each one is asked once, and then it is 404', () => {
  const call = caller();
  for (const callee of ['clyde', 'buck', 'blanche']) {
    const asked: string[] = [];
    let said = call(callee);
    for (let tries = 0; said.status === 407 && tries < 10; tries++) {
      asked.push(...said.asked.slice(-1));
      said = call(callee, said.nonce);
    }
    expect(said.status).toBe(404);
    expect(asked.sort()).toEqual(PBXS);
  }
});

test('credentials that a phone uses again for another callee lead to that one’s PBX', () => {
  const call = caller();
  for (const callee of ['clyde', 'buck', 'blanche', 'bonnie', 'henry', 'ralph']) {
    const { nonce } = call('clyde');
    const [home] = call(callee).asked;
    expect(call(callee, nonce).asked[0]).toBe(home);
  }
});
