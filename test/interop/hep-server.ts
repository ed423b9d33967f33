import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Host } from '../netns/host.ts';
import { type Process, started } from '../netns/process.ts';

/** One message as the server stored it. */
export interface Captured {
  method: string;
  ruri: string;
  callid: string;
  correlation_id: string;
  source: string;
  destination: string;
  /** As Kamailio numbers transports: 1 UDP, 2 TCP. */
  proto: number;
  node: string;
  /** The message, whole. */
  msg: string;
}

/** Columns of sip_capture that Kamailio 5.6 writes, in any order, with types that db_text has. */
const STRINGS =
  'method reply_reason ruri ruri_user ruri_domain from_user from_domain from_tag to_user to_domain to_tag pid_user contact_user auth_user ' +
  'callid callid_aleg via_1 via_1_branch cseq diversion reason content_type auth user_agent source_ip destination_ip contact_ip originator_ip ' +
  'correlation_id custom_field1 custom_field2 custom_field3 rtp_stat node msg';
const INTS = 'source_port destination_port contact_port originator_port proto family type';
const HEADER = [
  'date(time,null)',
  'micro_ts(double,null)',
  ...STRINGS.split(' ').map((name) => `${name}(str,null)`),
  ...INTS.split(' ').map((name) => `${name}(int,null)`),
];

const config = (address: string, port: number, table: string): string => `
debug=2
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:${address}:${port}
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "db_text.so"
loadmodule "sipcapture.so"
modparam("db_text", "db_mode", 1)
modparam("sipcapture", "db_url", "text://${table}")
modparam("sipcapture", "hep_capture_on", 1)
modparam("sipcapture", "capture_on", 1)
request_route { sip_capture(); xlog("L_ALERT", "stored $ci $cs $rm\n"); drop; }
onreply_route { sip_capture(); xlog("L_ALERT", "stored $ci $cs $rm\n"); drop; }
`;

/** Kamailio's sipcapture, the HEP server of HOMER up to version 6, with its table in a file. UDP only: over TCP this release does not take HEP. */
export class HepServer {
  readonly address: string;
  readonly port: number;
  readonly #directory: string;
  readonly #process: Process;

  private constructor(host: Host, port: number) {
    this.address = host.ipv4;
    this.port = port;
    this.#directory = mkdtempSync(join(tmpdir(), 'sipfleet-hep-'));
    const table = join(this.#directory, 'db');
    mkdirSync(table);
    writeFileSync(join(table, 'sip_capture'), `${HEADER.join(' ')}\n`);
    const file = join(this.#directory, 'hep.cfg');
    writeFileSync(file, config(host.ipv4, port, table));
    const args = ['-f', file, '-DD', '-E', '-m', '32', '-M', '8', '-w', this.#directory, '-Y', this.#directory];
    this.#process = host.spawn('kamailio', args);
  }

  static async start(host: Host, port: number): Promise<HepServer> {
    const server = new HepServer(host, port);
    return started(
      server,
      server.#process.sees(/SO_RCVBUF is finally/).then(() => {}),
    );
  }

  /** How many messages it has stored of which the log line `stored CALL-ID CSEQ METHOD` fits. */
  count(pattern: RegExp): number {
    return this.#process.output.split('\n').filter((line) => line.includes('stored ') && pattern.test(line)).length;
  }

  /** Ends it, which writes the table, and reads what it has stored. */
  async stored(): Promise<Captured[]> {
    await this.#process.end('SIGTERM');
    const file = join(this.#directory, 'db', 'sip_capture');
    if (!existsSync(file)) return [];
    const [head = '', ...rows] = readFileSync(file, 'utf8').trimEnd().split('\n');
    const names = head
      .trim()
      .split(' ')
      .map((column) => column.replace(/\(.*/, ''));
    return rows.map((row) => {
      // Fields by colons; those within are escaped.
      const fields = row
        .split(/(?<!\\):/)
        .map((field) => field.replaceAll('\\:', ':').replaceAll('\\r', '\r').replaceAll('\\n', '\n'));
      const of = (name: string): string => fields[names.indexOf(name)] ?? '';
      return {
        method: of('method'),
        ruri: of('ruri'),
        callid: of('callid'),
        correlation_id: of('correlation_id'),
        source: `${of('source_ip')}:${of('source_port')}`,
        destination: `${of('destination_ip')}:${of('destination_port')}`,
        proto: Number(of('proto')),
        node: of('node'),
        msg: of('msg'),
      };
    });
  }

  async close(): Promise<void> {
    await this.#process.end('SIGTERM');
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
