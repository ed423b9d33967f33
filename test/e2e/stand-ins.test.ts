import type { FarmInput } from '@sipfleet/contract';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Agent } from '../interop/agent.ts';
import { Phone } from '../interop/phone.ts';
import { type LineTransport, openLine } from '../interop/phone-line.ts';
import { type Kind, StandIn } from '../interop/stand-in.ts';
import { chanSip, freeSwitch, openSips, pjsip } from '../interop/stand-in-kinds.ts';
import { loopback } from '../netns/host.ts';
import { value, values } from '../netns/wire.ts';
import { canUseLoopback, freePort } from './loopback.ts';

/** Stand-ins for PBXs that the tests cannot run (test/interop/stand-in-kinds.ts), behind a real agent. */

const AGENT = '127.7.1.20';
const PBX = '127.7.1.11';
const PHONE = '127.7.1.30';
const TRANSPORTS = ['udp', 'tcp', 'ws'] as const;

async function start(kind: Kind, workers: number, registration: FarmInput['registration']) {
  const pbx = await StandIn.start(kind, PBX);
  onTestFinished(() => pbx.close());
  const ports = new Map<LineTransport, number>();
  for (const transport of TRANSPORTS) ports.set(transport, await freePort(AGENT));
  const agent = await Agent.start({
    host: loopback(AGENT),
    workers,
    farm: {
      kind: 'Farm',
      name: 'pbx',
      sites: ['milan'],
      registration,
      listeners: TRANSPORTS.map((transport) => ({ transport, address: AGENT, port: ports.get(transport) as number })),
      backends: [{ name: 'pbx1', address: PBX, port: pbx.port }],
    },
  });
  onTestFinished(() => agent.close());
  /** A registered phone that does not say that it supports Path. */
  const phone = async (user: string, transport: LineTransport): Promise<Phone> => {
    const line = await openLine(transport, { host: AGENT, port: ports.get(transport) as number, from: PHONE });
    onTestFinished(() => line.close());
    const made = new Phone(line, { user, password: 'gates', domain: 'example.test', path: false });
    for (let times = 0; times < 2; times++) expect((await made.register()).join()).toBe('401,200');
    return made;
  };
  return { pbx, phone };
}

const CASES: [Kind, 'path' | 'contact', workers: number][] = [
  [pjsip({ supportPath: true, rewriteContact: false }), 'path', 1],
  [pjsip({ supportPath: true, rewriteContact: true }), 'path', 3],
  [pjsip({ supportPath: false, rewriteContact: false }), 'contact', 3],
  [pjsip({ supportPath: false, rewriteContact: true }), 'contact', 1],
  [chanSip(), 'path', 3],
  [chanSip(), 'contact', 1],
  [freeSwitch(), 'path', 1],
  [freeSwitch(), 'contact', 3],
  [openSips(), 'path', 3],
  [openSips(), 'contact', 1],
];

describe.skipIf(!canUseLoopback)('a stand-in calls phones on UDP, TCP and WebSocket back', () => {
  test.each(CASES.map(([kind, mode, workers]) => ({ name: kind.name, mode, workers, kind })))(
    '$name, mode $mode, $workers workers',
    async ({ kind, mode, workers }) => {
      const { pbx, phone } = await start(kind, workers, { mode });
      for (const transport of TRANSPORTS) {
        const user = `on-${transport}`;
        const called = await phone(user, transport);
        // However often it registered, over whatever connection of ours.
        expect(pbx.bindings.get(user)).toHaveLength(1);
        expect(ownContacts(called)).toEqual([true, true]);
        // FreeSWITCH's pings carry no Route: only a Contact of ours says where they are to go.
        const status = kind.name === 'FreeSWITCH' && mode === 'path' ? 503 : 200;
        expect(await pbx.ping(user)).toBe(status);
        expect(await pbx.ping(user, 'NOTIFY')).toBe(status);
        const first = await pbx.call(user);
        expect(await first.hangUp()).toBe(200);
        const second = await pbx.call(user);
        expect((await (await called.called(1)).hangUp()).status).toBe(200);
        await second.ended();
      }
    },
  );

  test('mode none: it keeps what the phone registered, and nothing of the agent', async () => {
    const { pbx, phone } = await start(pjsip({ supportPath: true, rewriteContact: false }), 1, { mode: 'none' });
    const called = await phone('clyde', 'udp');
    expect(pbx.bindings.get('clyde')).toMatchObject([{ uri: called.contact.slice(1, -1), path: [] }]);
    expect(ownContacts(called)).toEqual([true, true]);
  });
});

/** Whether each answer to a REGISTER has the phone's own Contact. */
function ownContacts({ received, contact }: Phone): boolean[] {
  const [own] = contact.split(';');
  return received
    .filter((m) => m.status === 200 && value(m, 'cseq').endsWith('REGISTER'))
    .map((m) => values(m, 'contact').length === 1 && value(m, 'contact').startsWith(own as string));
}
