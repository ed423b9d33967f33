import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Host, hostPort } from '../netns/host.ts';
import type { Process } from '../netns/process.ts';

export interface BaresipOptions {
  host: Host;
  /** Local SIP port; media takes 100 ports above 10,000 + this. */
  port: number;
  user: string;
  password: string;
  domain: string;
  /** Every request goes there first. */
  outbound: string;
  transport?: 'udp' | 'tcp';
  address?: string;
  /** Answers by itself. */
  answers?: boolean;
}

/** Plays and records without a sound card: a tone goes out, what comes in goes to a virtual device. */
const config = (options: BaresipOptions, control: number) => `
sip_listen ${hostPort(options.address ?? options.host.ipv4, options.port)}
call_local_timeout 60
call_max_calls 4
audio_path /usr/share/baresip
audio_player aubridge,out
audio_source ausine,400
audio_alert aubridge,alert
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 2
auplay_channels 2
rtp_ports ${10_000 + options.port}-${10_100 + options.port}
jitter_buffer_delay 1-5
module_path /usr/lib/baresip/modules
module g711.so
module aubridge.so
module ausine.so
module ctrl_tcp.so
module_app account.so
module_app menu.so
ctrl_tcp_listen 127.0.0.1:${control}
`;

/** What baresip reports over its control socket. */
export type BaresipEvent = 'CALL_RINGING' | 'CALL_INCOMING' | 'CALL_ESTABLISHED' | 'CALL_CLOSED';

/** A real softphone without a screen, driven over its control socket. */
export class Baresip {
  readonly #phone: Process;
  readonly #control: Process;
  readonly #directory: string;
  /** Events before this place of the control output are of the past. */
  #read = 0;

  private constructor(phone: Process, control: Process, directory: string) {
    this.#phone = phone;
    this.#control = control;
    this.#directory = directory;
  }

  /** Starts one. Resolves once it is registered. */
  static async start(options: BaresipOptions): Promise<Baresip> {
    const directory = mkdtempSync(join(tmpdir(), 'sipfleet-baresip-'));
    const control = 20_000 + options.port;
    const transport = options.transport ?? 'udp';
    writeFileSync(join(directory, 'config'), config(options, control));
    writeFileSync(
      join(directory, 'accounts'),
      `<sip:${options.user}@${options.domain};transport=${transport}>;auth_user=${options.user};auth_pass=${options.password}` +
        `;outbound="sip:${options.outbound};transport=${transport}";regint=600;answermode=${options.answers ? 'auto' : 'manual'}` +
        ';audio_codecs=pcmu;mwi=no\n',
    );
    writeFileSync(join(directory, 'contacts'), '');
    const phone = options.host.spawn('baresip', ['-f', directory]);
    await phone.sees(/baresip is ready/);
    // The socket stands in the phone's namespace, so a process in there carries its bytes.
    const bridge = `exec 3<>/dev/tcp/127.0.0.1/${control}; echo connected; cat <&3 & exec cat >&3`;
    const channel = options.host.spawn('bash', ['-c', bridge]);
    await channel.sees(/^connected$/m);
    // On its screen, because the control socket tells nothing of what was before it was connected.
    await phone.sees(/\} 200 OK .*binding/);
    return new Baresip(phone, channel, directory);
  }

  /** Resolves with the first such event after the last one that was waited for. */
  async sees(event: BaresipEvent): Promise<void> {
    const pattern = new RegExp(`"type":"${event}"`);
    const match = await this.#control.sees(pattern, { from: this.#read });
    this.#read += (match.index ?? 0) + match[0].length;
  }

  /** `sip:clyde@example.test` */
  dial(uri: string): void {
    this.#send('dial', uri);
  }

  hangUp(): void {
    this.#send('hangup');
  }

  get log(): string {
    return this.#phone.output + this.#control.output;
  }

  /** Unregisters and ends. Safe to call twice. */
  async close(): Promise<void> {
    await Promise.all([this.#phone.end(), this.#control.end()]);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** ctrl_tcp speaks JSON in netstrings. */
  #send(command: string, params = ''): void {
    const text = JSON.stringify({ command, params });
    this.#control.write(`${Buffer.byteLength(text)}:${text},`);
  }
}
