import type { FarmInput } from '@sipfleet/contract';
import { afterEach, beforeEach, type TestContext } from 'vitest';
import { Agent, type AgentOptions, type JoinedAgentOptions } from '../interop/agent.ts';
import { Baresip, type BaresipOptions } from '../interop/baresip.ts';
import { Kamailio, type KamailioOptions, whereRegistered } from '../interop/kamailio.ts';
import { answerScenario, phoneScenario, registerScenario } from '../interop/scenarios.ts';
import { row, Sipp, type SippOptions } from '../interop/sipp.ts';
import { Capture } from '../netns/capture.ts';
import { hostPort } from '../netns/host.ts';
import type { Namespace } from '../netns/namespace.ts';
import { createTopology, type Topology } from '../netns/topology.ts';

export const DOMAIN = 'example.test';

/** Shared credentials: every PBX authenticates every user (DESIGN §5, key `user`). */
export const USERS = { bonnie: 'parker', clyde: 'barrow', blanche: 'caldwell', buck: 'ivan' };
export type User = keyof typeof USERS;
export type Transport = 'udp' | 'tcp';

interface Closable {
  close(): Promise<void>;
}

/** What a test has on its network; everything that it starts ends with the test. */
export class Stage {
  readonly net: Topology;
  readonly pbxs: Kamailio[] = [];
  readonly #agents: Agent[] = [];
  readonly #closables: Closable[] = [];

  constructor(net: Topology) {
    this.net = net;
  }

  /** `10.77.0.20:5060` */
  get service(): string {
    return hostPort(this.net.vip.ipv4, 5060);
  }

  /** Both PBXs, without a shared location database. */
  async startPbxs(options: Partial<KamailioOptions> = {}): Promise<[Kamailio, Kamailio]> {
    for (const host of [this.net.pbx1, this.net.pbx2])
      this.pbxs.push(this.keep(await Kamailio.start({ host, port: 5060, ipv6: true, users: USERS, ...options })));
    return this.pbxs as [Kamailio, Kamailio];
  }

  /** The farm of both PBXs behind the VIP, on UDP and TCP. */
  farm(rest: Partial<FarmInput> = {}): FarmInput {
    const { vip, pbx1, pbx2 } = this.net;
    return {
      kind: 'Farm',
      name: 'pbx',
      sites: ['milan'],
      listeners: [
        { transport: 'udp', address: vip.ipv4, port: 5060 },
        { transport: 'tcp', address: vip.ipv4, port: 5060 },
      ],
      backends: [
        // Under these names the hash puts bonnie on the first and clyde on the second; the tests assert that it does.
        { name: 'kamailio1', address: pbx1.ipv4 },
        { name: 'kamailio2', address: pbx2.ipv4 },
      ],
      ...rest,
    };
  }

  /** An agent on agentA, which gets the VIP, unless another host is given. */
  async startAgent(options: Partial<AgentOptions> & { workers: number }): Promise<Agent> {
    const host = options.host ?? this.net.agentA;
    if (host === this.net.agentA) await this.net.moveVip(this.net.agentA);
    return this.#keepAgent(await Agent.start({ host, farm: this.farm(), ...options }));
  }

  /** An agent of a control plane on agentA, which gets the VIP. */
  async joinAgent(options: Omit<JoinedAgentOptions, 'host'>): Promise<Agent> {
    await this.net.moveVip(this.net.agentA);
    return this.#keepAgent(await Agent.start({ host: this.net.agentA, ...options }));
  }

  /** Records on a machine's link until {@link Capture.stop}. */
  capture(namespace: Namespace): Promise<Capture> {
    return Capture.start(namespace);
  }

  /** A SIPp that plays a scenario as `user`. */
  sipp(user: User, host: Namespace, options: Partial<SippOptions> & { scenario: string; callee?: User }): Sipp {
    const { callee = '', ...rest } = options;
    const rows = [row(user, USERS[user], callee)];
    return this.#keepSipp(new Sipp({ host, port: 5070, target: this.service, domain: DOMAIN, rows, ...rest }));
  }

  /** A SIPp that registers and ends. */
  sippRegistration(user: User, host: Namespace, options: Partial<SippOptions> = {}): Sipp {
    return this.sipp(user, host, { scenario: registerScenario, ...options });
  }

  /** A SIPp that registers and answers calls. Resolves with the PBX that has registered it. */
  async sippPhone(user: User, host: Namespace, options: Partial<SippOptions> = {}): Promise<Kamailio> {
    const registered = whereRegistered(user, this.pbxs);
    const phone = this.sipp(user, host, { scenario: phoneScenario, outOfCall: answerScenario, ...options });
    const ended = phone.process.exited.then(() => {
      throw new Error(`${user} could not register:\n${phone.errors}\n${phone.process.output.slice(-2_000)}`);
    });
    return Promise.race([registered, ended]);
  }

  /** A registered baresip. */
  async baresip(user: User, host: Namespace, options: Partial<BaresipOptions> = {}): Promise<Baresip> {
    const password = USERS[user];
    const outbound = this.service;
    return this.keep(await Baresip.start({ host, port: 5062, user, password, domain: DOMAIN, outbound, ...options }));
  }

  /** The last words of everybody, for a test that failed. */
  logs(): string {
    const pbxs = this.pbxs.map((pbx) => `Kamailio ${pbx.address}:\n${pbx.log.slice(-3_000)}`);
    return [...pbxs, ...this.#agents.map((agent) => `agent:\n${agent.process.output.slice(-3_000)}`)].join('\n');
  }

  async close(): Promise<void> {
    // Phones first: they unregister while there is somebody to hear it.
    for (const closable of this.#closables.reverse()) await closable.close().catch(() => {});
    await this.net.remove();
  }

  /** Closes it with the stage. */
  keep<T extends Closable>(closable: T): T {
    this.#closables.push(closable);
    return closable;
  }

  #keepAgent(agent: Agent): Agent {
    this.#agents.push(agent);
    return this.keep(agent);
  }

  #keepSipp(sipp: Sipp): Sipp {
    this.#closables.push({ close: () => sipp.end() });
    return sipp;
  }
}

/** A network of one test's own, which ends with it: for tests that run side by side. */
export async function openStage({ task, onTestFinished }: TestContext): Promise<Stage> {
  const stage = new Stage(await createTopology());
  onTestFinished(async () => {
    if (task.result?.state === 'fail') console.log(stage.logs());
    await stage.close();
  });
  return stage;
}

/** A fresh network for every test of the file. Call at the top of a file; the result gives the current one. */
export function useStage(): () => Stage {
  let stage: Stage | undefined;
  beforeEach(async () => {
    stage = new Stage(await createTopology());
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') console.log(stage?.logs());
    await stage?.close();
    stage = undefined;
  });
  return () => stage as Stage;
}
