import { describe, expect, test } from 'vitest';
import { callScenario } from '../interop/scenarios.ts';
import { between, label, ladder, value, values, type WireMessage } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { type Stage, type Transport, useStage } from './stage.ts';

/** DESIGN §5: what a traversal may add, and how long a token may be. */
const ADDED = 250;
const TOKEN = 64;

describe.skipIf(!canUseNamespaces()).each([1, 3])('on the wire, %i workers', (workers) => {
  const stage = useStage();

  /** Registers both and has bonnie, behind NAT, call clyde; everything that passed the agent's link. */
  async function recordCall(s: Stage, transport: Transport): Promise<WireMessage[]> {
    const { client1, client2, agentA } = s.net;
    await s.startPbxs({ challengeCalls: true });
    await s.startAgent({ workers });
    const capture = await s.capture(agentA);
    await s.sippPhone('bonnie', client1, { transport });
    await s.sippPhone('clyde', client2, { transport });
    const scenario = callScenario({ challenged: true });
    await s.sipp('bonnie', client1, { port: 5080, transport, scenario, callee: 'clyde' }).finished();
    return capture.stop();
  }

  test('REGISTER carries Path, Via and where it really came from', async () => {
    const s = stage();
    const { nat, pbx1, pbx2, vip, client1 } = s.net;
    const wire = await recordCall(s, 'udp');
    const [sent] = between(wire, nat.ipv4, vip.ipv4).filter((m) => m.method === 'REGISTER');
    const [received] = [pbx1, pbx2].flatMap((pbx) => registers(between(wire, vip.ipv4, pbx.ipv4), 'bonnie'));
    if (!sent || !received) throw new Error(`no REGISTER of bonnie:\n${ladder(wire)}`);

    const [ours, theirs, ...more] = values(received, 'via');
    expect(ours).toMatch(new RegExp(`^SIP/2\\.0/UDP ${vip.ipv4}:5060;(.*;)?branch=z9hG4bK`));
    // RFC 3581: the phone's own address stays, received and rport tell the NAT's.
    expect(theirs).toContain(`SIP/2.0/UDP ${client1.ipv4}:5070`);
    expect(theirs).toContain(`received=${nat.ipv4}`);
    expect(theirs).toContain(`rport=${sent.source.port}`);
    expect(more).toEqual([]);
    const path = values(received, 'path');
    expect(path).toHaveLength(1);
    expectToken(path[0] as string, vip.ipv4);
    expect(values(received, 'supported')).toContain('path');
    expect(value(received, 'max-forwards')).toBe('69');
    expect(value(received, 'contact')).toBe(value(sent, 'contact'));
    expect(received.size - sent.size).toBeLessThanOrEqual(ADDED);
    // REGISTER makes no dialog.
    expect(values(received, 'record-route')).toEqual([]);
  });

  test('every packet leaves from the service address, and answers go to where the request came from', async () => {
    const s = stage();
    const { agentA, nat, vip, client2 } = s.net;
    const wire = await recordCall(s, 'udp');
    expect(wire.filter((m) => m.source.address === agentA.ipv4)).toEqual([]);
    const left = wire.filter((m) => m.source.address === vip.ipv4);
    expect(left.map((m) => m.source.port).filter((port) => port !== 5060)).toEqual([]);

    // The caller is answered through the NAT's mapping, with its own Via alone.
    const invite = between(wire, nat.ipv4, vip.ipv4).find((m) => m.method === 'INVITE');
    const answers = between(wire, vip.ipv4, nat.ipv4).filter((m) => label(m).endsWith(' INVITE'));
    expect(answers.map(label)).toEqual(['100 INVITE', '407 INVITE', '100 INVITE', '180 INVITE', '200 INVITE']);
    for (const answer of answers) {
      expect(answer.destination.port).toBe(invite?.source.port);
      expect(values(answer, 'via')).toHaveLength(1);
    }
    // The callee is called where it registered from.
    const register = between(wire, client2.ipv4, vip.ipv4).find((m) => m.method === 'REGISTER');
    const ringing = between(wire, vip.ipv4, client2.ipv4).filter((m) => m.method === 'INVITE');
    expect(ringing.map((m) => m.destination.port)).toEqual([register?.source.port]);
  });

  test.each<Transport>(['udp', 'tcp'])(
    'the agent stands in the dialog twice and takes its own Routes off, %s',
    async (transport) => {
      const s = stage();
      const { nat, pbx2, vip, client2 } = s.net;
      const wire = await recordCall(s, transport);
      const first = (from: string, to: string, what: string) => {
        const found = between(wire, from, to).find((m) => label(m) === what && !isChallenged(m, wire));
        if (!found) throw new Error(`no ${what} from ${from} to ${to}:\n${ladder(wire)}`);
        return found;
      };

      const sent = first(nat.ipv4, vip.ipv4, 'INVITE');
      const atPbx = first(vip.ipv4, pbx2.ipv4, 'INVITE');
      expectToken(values(atPbx, 'record-route').at(0) as string, vip.ipv4);
      expect(atPbx.body).toBe(sent.body);
      expect(atPbx.startLine).toBe(sent.startLine);

      // The PBX sends it along the phone's Path, which is used up at the agent.
      const fromPbx = first(pbx2.ipv4, vip.ipv4, 'INVITE');
      expectToken(values(fromPbx, 'route').at(0) as string, vip.ipv4);
      const atPhone = first(vip.ipv4, client2.ipv4, 'INVITE');
      expect(values(atPhone, 'route')).toEqual([]);
      expect(values(atPhone, 'via').map(sentBy)).toEqual([
        `${vip.ipv4}:5060`,
        pbx2.ipv4,
        `${vip.ipv4}:5060`,
        expect.stringContaining('192.168.77.11:'),
      ]);
      const routes = values(atPhone, 'record-route');
      expect(routes.filter((uri) => uri.includes(vip.ipv4)).length).toBeGreaterThanOrEqual(2);
      expect(atPhone.body).toBe(sent.body);

      // In the dialog: the caller's Routes lead through the agent to the PBX, and again through the agent to the phone.
      for (const method of ['ACK', 'BYE']) {
        const inDialog = between(wire, nat.ipv4, vip.ipv4)
          .filter((m) => m.method === method)
          .at(-1);
        expect(values(inDialog as WireMessage, 'route')).toEqual(
          [...values(first(vip.ipv4, nat.ipv4, '200 INVITE'), 'record-route')].reverse(),
        );
        const toPbx = between(wire, vip.ipv4, pbx2.ipv4)
          .filter((m) => m.method === method)
          .at(-1);
        expect(values(toPbx as WireMessage, 'route').at(0)).toContain(pbx2.ipv4);
        const toPhone = between(wire, vip.ipv4, client2.ipv4)
          .filter((m) => m.method === method)
          .at(-1);
        expect(values(toPhone as WireMessage, 'route')).toEqual([]);
      }
    },
  );
});

const registers = (messages: WireMessage[], user: string): WireMessage[] =>
  messages.filter((m) => m.method === 'REGISTER' && value(m, 'to').includes(`sip:${user}@`));

/** An INVITE that was answered with 407 and sent again under the next CSeq. */
function isChallenged(message: WireMessage, wire: WireMessage[]): boolean {
  return wire.some((m) => m.status === 407 && value(m, 'cseq') === value(message, 'cseq'));
}

const sentBy = (via: string): string => /^SIP\/2\.0\/\w+ ([^;]+)/.exec(via)?.[1] ?? via;

function expectToken(route: string, address: string): void {
  const token = new RegExp(`^<sip:([^@]+)@${address.replaceAll('.', '\\.')}(:5060)?[;>]`).exec(route)?.[1];
  expect(token, `a token at the agent's address in ${route}`).toBeDefined();
  expect((token as string).length).toBeLessThanOrEqual(TOKEN);
  expect(route).toContain(';lr');
}
