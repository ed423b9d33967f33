import { join } from 'node:path';
import type { Host } from '../netns/host.ts';
import { type Process, started } from '../netns/process.ts';
import type { LineTransport } from './phone-line.ts';

const MAIN = join(import.meta.dirname, 'phone.main.ts');

export interface PhoneProcessOptions {
  host: Host;
  transport: LineTransport;
  target: string;
  user: string;
  password: string;
  domain: string;
}

/** A phone of {@link ./phone.ts} inside a namespace, with any number of calls on one connection. */
export class PhoneProcess {
  readonly process: Process;

  private constructor({ host, transport, target, user, password, domain }: PhoneProcessOptions) {
    const [address, port] = target.split(':') as [string, string];
    this.process = host.spawn(process.execPath, [MAIN, transport, address, port, user, password, domain]);
  }

  /** Resolves once it is registered. */
  static start(options: PhoneProcessOptions): Promise<PhoneProcess> {
    const phone = new PhoneProcess(options);
    return started(
      phone,
      phone.process.sees(/^registered$/m).then(() => {}),
    );
  }

  /** Its connection has ended. */
  async lost(): Promise<void> {
    await this.process.sees(/^lost$/m);
  }

  /** Opens another connection and registers over it. */
  async reconnect(): Promise<void> {
    const from = this.process.output.length;
    this.process.write('reconnect\n');
    await this.process.sees(/^registered$/m, { from });
  }

  /** So many calls are up, or have been. */
  async up(calls: number, deadline?: number): Promise<void> {
    await this.process.sees(new RegExp(`^up ${calls}$`, 'm'), deadline === undefined ? {} : { deadline });
  }

  /** The other side has ended so many calls. */
  async over(calls: number, deadline?: number): Promise<void> {
    await this.process.sees(new RegExp(`^over ${calls}$`, 'm'), deadline === undefined ? {} : { deadline });
  }

  /** Ends all calls; resolves with how many BYEs were answered with 200. */
  async hangUp(): Promise<number> {
    this.process.write('hangup\n');
    const [, done] = await this.process.sees(/^ended (\d+)$/m, { deadline: 60_000 });
    return Number(done);
  }

  async close(): Promise<void> {
    await this.process.end('SIGTERM');
  }
}
