import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Host, hostPort } from '../netns/host.ts';
import { type Process, started } from '../netns/process.ts';

export interface BaresipOptions {
  host: Host;
  /** Local SIP port; media takes 100 ports above 10,000 + this. */
  port: number;
  user: string;
  password: string;
  domain: string;
  /** Every request goes there first. */
  outbound: string;
  /** Of TLS, version 1.0 asks for no certificate that it trusts: it takes any. */
  transport?: 'udp' | 'tcp' | 'tls';
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

const account = ({ user, password, domain, outbound, answers, transport = 'udp' }: BaresipOptions): string =>
  `<sip:${user}@${domain};transport=${transport}>;auth_user=${user};auth_pass=${password}` +
  `;outbound="sip:${outbound};transport=${transport}";regint=600;answermode=${answers ? 'auto' : 'manual'}` +
  ';audio_codecs=pcmu;mwi=no\n';

/** What baresip reports over its control socket. */
export type BaresipEvent = 'CALL_RINGING' | 'CALL_INCOMING' | 'CALL_ESTABLISHED' | 'CALL_CLOSED';

/** A real softphone without a screen, driven over its control socket. */
export class Baresip {
  readonly #phone: Process;
  readonly #directory: string;
  #control: Process | undefined;
  /** Events before this place of the control output are of the past. */
  #read = 0;

  private constructor(options: BaresipOptions, control: number) {
    this.#directory = mkdtempSync(join(tmpdir(), 'sipfleet-baresip-'));
    writeFileSync(join(this.#directory, 'config'), config(options, control));
    writeFileSync(join(this.#directory, 'accounts'), account(options));
    writeFileSync(join(this.#directory, 'contacts'), '');
    this.#phone = options.host.spawn('baresip', ['-f', this.#directory]);
  }

  /** Starts one. Resolves once it is registered. */
  static start(options: BaresipOptions): Promise<Baresip> {
    const control = 20_000 + options.port;
    const phone = new Baresip(options, control);
    return started(phone, phone.#connect(options.host, control));
  }

  async #connect(host: Host, control: number): Promise<void> {
    await this.#phone.sees(/baresip is ready/);
    // The socket stands in the phone's namespace, so a process in there carries its bytes.
    const bridge = `exec 3<>/dev/tcp/127.0.0.1/${control}; echo connected; cat <&3 & exec cat >&3`;
    this.#control = host.spawn('bash', ['-c', bridge]);
    await this.#control.sees(/^connected$/m);
    // On its screen, because the control socket tells nothing of what was before it was connected.
    await this.#phone.sees(/\} 200 OK .*binding/);
  }

  /** Resolves with the first such event after the last one that was waited for. */
  async sees(event: BaresipEvent): Promise<void> {
    const pattern = new RegExp(`"type":"${event}"`);
    const match = await this.#channel.sees(pattern, { from: this.#read });
    this.#read += (match.index ?? 0) + match[0].length;
  }

  /** `sip:clyde@example.test` */
  dial(uri: string): void {
    this.#send('dial', uri);
  }

  hangUp(): void {
    this.#send('hangup');
  }

  /** By a re-INVITE. */
  hold(): void {
    this.#send('hold');
  }

  resume(): void {
    this.#send('resume');
  }

  /** Has the other side call somebody else (REFER). */
  transfer(uri: string): void {
    this.#send('transfer', uri);
  }

  get log(): string {
    return this.#phone.output + this.#channel.output;
  }

  /** Unregisters and ends. Safe to call twice. */
  async close(): Promise<void> {
    await Promise.all([this.#phone.end(), this.#control?.end()]);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #channel(): Process {
    if (!this.#control) throw new Error('baresip is not connected yet');
    return this.#control;
  }

  /** ctrl_tcp speaks JSON in netstrings. */
  #send(command: string, params = ''): void {
    const text = JSON.stringify({ command, params });
    this.#channel.write(`${Buffer.byteLength(text)}:${text},`);
  }
}
