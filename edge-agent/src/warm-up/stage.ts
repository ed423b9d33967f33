import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Plan } from '../plan.ts';
import { ADDRESSES } from './play.ts';

/** The sockets of those who play with the agent. */
export class Cast {
  readonly phones: Socket;
  readonly pbxs: readonly Socket[];

  private constructor(phones: Socket, pbxs: readonly Socket[]) {
    this.phones = phones;
    this.pbxs = pbxs;
  }

  /** Rejects where the loopback has no such addresses. */
  static async open(): Promise<Cast> {
    const opened = await Promise.all([ADDRESSES.phones, ...ADDRESSES.pbxs].map(openSocket));
    const [phones, ...pbxs] = opened as [Socket, ...Socket[]];
    return new Cast(phones, pbxs);
  }

  /** The plan with the ports that everybody really has. */
  placed(plan: Plan, ports: readonly number[]): Plan {
    const portOf = (address: string) =>
      this.pbxs.map((pbx) => pbx.address()).find((pbx) => pbx.address === address)?.port ?? 0;
    return {
      ...plan,
      listeners: plan.listeners.map((listener, i) => ({ ...listener, port: ports[i] ?? 0 })),
      farms: plan.farms.map((farm) => ({
        ...farm,
        backends: farm.backends.map((backend) => ({ ...backend, port: portOf(backend.address) })),
      })),
    };
  }

  close(): void {
    for (const socket of [this.phones, ...this.pbxs]) socket.close();
  }
}

/** Each listener on some free port. */
export const unplaced = (plan: Plan): Plan => ({
  ...plan,
  listeners: plan.listeners.map((listener) => ({ ...listener, port: 0 })),
});

async function openSocket(address: string): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, address);
  await once(socket, 'listening');
  // A datagram that does not get through is a call that is not answered.
  socket.on('error', () => {});
  return socket;
}
