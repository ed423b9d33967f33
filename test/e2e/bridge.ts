import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FarmInput } from '@sipfleet/contract';
import { onTestFinished } from 'vitest';
import { createAuthority } from '../../edge-agent/src/transport/certificates.fixture.ts';
import { Agent, type SecretValues } from '../interop/agent.ts';
import { Kamailio } from '../interop/kamailio.ts';
import { Phone, type PhoneOptions } from '../interop/phone.ts';
import { type LineTarget, type LineTransport, openLine, type PhoneLine } from '../interop/phone-line.ts';
import { loopback } from '../netns/host.ts';
import { freePort } from './loopback.ts';

/** One agent that speaks every transport, and a Kamailio behind it, on loopback addresses of their own. */

export const AGENT = '127.7.0.20';
export const PBX = '127.7.0.11';
/** Holds the PBX's address. A block, since on one loopback address PBXs are told from phones by their port, and TCP gives them others. */
const PBX_BLOCK = '127.7.0.10/31';
export const DOMAIN = 'example.test';
export const LINES = ['udp', 'tcp', 'tls', 'ws', 'wss'] as const satisfies LineTransport[];
/** A few names, and two users for each transport. */
export const USERS: Readonly<Record<string, string>> = {
  ...{ bonnie: 'parker', clyde: 'barrow', blanche: 'caldwell' },
  ...Object.fromEntries(LINES.flatMap((line) => [`caller-${line}`, `callee-${line}`]).map((user) => [user, 'gates'])),
};

export const authority = createAuthority('Bridge CA');

export interface Bridge {
  agent: Agent;
  pbx: Kamailio;
  farm: FarmInput;
  secrets: SecretValues;
  target(transport: LineTransport): LineTarget;
  line(transport: LineTransport, more?: Partial<LineTarget>): Promise<PhoneLine>;
  /** A registered phone. */
  phone(
    user: string,
    transport: LineTransport,
    more?: Partial<LineTarget> & Pick<PhoneOptions, 'reliable' | 'device'>,
  ): Promise<Phone>;
}

export interface BridgeOptions {
  workers: number;
  /** What the TCP and TLS listeners have besides. */
  streams?: Pick<FarmInput['listeners'][number], 'proxyProtocol'>;
  /** How the agent speaks to the PBX. */
  towards?: 'udp' | 'tcp' | 'tls';
  /** What the PBX's entry in the farm has besides. */
  backend?: Pick<FarmInput['backends'][number], 'tcpAbove'>;
  /** Whom the farm prefers to the PBX: one that fails, and is not found out by any check. */
  preferred?: FarmInput['backends'][number];
  /** False: the PBX lets everybody call. */
  challengeCalls?: boolean;
  /** What the farm has besides, or instead. */
  rest?: Pick<FarmInput, 'checks' | 'failover'>;
  /** Further options of the agent. */
  more?: readonly string[];
}

/** Starts both; they end with the test. */
export async function startBridge({
  workers,
  towards = 'udp',
  streams = {},
  backend = {},
  preferred,
  challengeCalls = true,
  rest = {},
  more: options = [],
}: BridgeOptions): Promise<Bridge> {
  const [pbxPort, pbxTls] = [await freePort(PBX), await freePort(PBX)];
  const tls = towards === 'tls' ? { port: pbxTls, ...pbxFiles(authority.issue(PBX)) } : undefined;
  const pbx = await Kamailio.start({
    host: loopback(PBX),
    port: pbxPort,
    users: USERS,
    challengeCalls,
    ...(tls && { tls }),
  });
  onTestFinished(() => pbx.close());

  const ports = new Map<LineTransport, number>();
  for (const transport of LINES) ports.set(transport, await freePort(AGENT));
  const secrets: SecretValues = {
    first: { ...authority.issue('first.example.test', AGENT) },
    second: { ...authority.issue('second.example.test') },
    ca: { ca: authority.certificate },
  };
  const listener = (transport: LineTransport) => ({ transport, address: AGENT, port: ports.get(transport) as number });
  const farm: FarmInput = {
    kind: 'Farm',
    name: 'pbx',
    sites: ['milan'],
    listeners: [
      listener('udp'),
      { ...listener('tcp'), ...streams },
      { ...listener('tls'), ...streams, certificates: ['first', 'second'] },
      listener('ws'),
      { ...listener('wss'), certificate: 'first' },
    ],
    backends: [
      ...(preferred ? [preferred] : []),
      {
        ...{ name: 'kamailio', address: PBX, sources: [PBX_BLOCK], priority: preferred ? 2 : 1 },
        ...(towards === 'tls' ? { port: pbxTls, tls: { ca: 'ca' } } : { port: pbxPort }),
        ...{ transport: towards, ...backend },
      },
    ],
    checks: preferred ? [] : [{ name: 'ping', type: 'options', interval: '500ms', timeout: '500ms' }],
    ...rest,
  };
  const agent = await Agent.start({ host: loopback(AGENT), workers, farm, secrets, more: options });
  onTestFinished(() => agent.close());

  const target = (transport: LineTransport): LineTarget => ({
    host: AGENT,
    port: ports.get(transport) as number,
    ca: authority.certificate,
  });
  const line = async (transport: LineTransport, more: Partial<LineTarget> = {}): Promise<PhoneLine> => {
    const opened = await openLine(transport, { ...target(transport), ...more });
    onTestFinished(() => opened.close());
    return opened;
  };
  const phone: Bridge['phone'] = async (user, transport, { reliable = false, device, ...more } = {}) => {
    const made = new Phone(await line(transport, more), {
      user,
      password: USERS[user] as string,
      domain: DOMAIN,
      reliable,
      ...(device !== undefined && { device }),
    });
    const statuses = await made.register();
    if (statuses.join() !== '401,200') throw new Error(`REGISTER of ${user} over ${transport}: ${statuses}`);
    return made;
  };
  return { agent, pbx, farm, secrets, target, line, phone };
}

function pbxFiles(identity: { certificate: string; privateKey: string }) {
  const directory = mkdtempSync(join(tmpdir(), 'sipfleet-pbx-tls-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const files = { certificate: join(directory, 'certificate.pem'), privateKey: join(directory, 'key.pem') };
  writeFileSync(files.certificate, identity.certificate);
  writeFileSync(files.privateKey, identity.privateKey, { mode: 0o600 });
  return files;
}
