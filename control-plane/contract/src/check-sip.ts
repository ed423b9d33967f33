/** The `check_sip` command line, read alike by the command itself and by a farm's `call` checks. */

/** What one command line asks for. Hosts and URIs as they were written: HOST and PORT may stand in them. */
export interface CheckSipCommand {
  /** `sip:Bonnie@192.168.56.201`, or a bare user. */
  from: string;
  to: string;
  /** `host[:port]` that all requests are sent to. */
  proxy?: string;
  /** `host[:port]` to register at; `-`: do not register. */
  registrar?: string;
  /** Files with raw PCMU/8000, in the order in which they are sent. */
  send: string[];
  /** `ip[:port]` of the own end. */
  leg?: string;
  /** Seconds until an INVITE that was not answered is cancelled. */
  timeout?: number;
  username?: string;
  password?: string;
  /** Seconds after which everything is over, whatever happened. */
  deadline?: number;
  expectAudio: boolean;
  transport?: 'udp' | 'tcp' | 'tls' | 'ws';
  debug: boolean;
  json: boolean;
  help: boolean;
}

/** A command line that is none. The message says which option, what was found, what is allowed. */
export class CheckSipUsageError extends Error {
  readonly code = 'USAGE';
  constructor(message: string) {
    super(message);
    this.name = 'CheckSipUsageError';
  }
}

/** Long name → how its value is taken up; short names beside. */
const FLAGS: Record<string, 'debug' | 'help' | 'expectAudio' | 'json'> = {
  '--debug': 'debug',
  '--help': 'help',
  '--expect-audio': 'expectAudio',
  '--json': 'json',
};
const SHORT: Record<string, string> = {
  '-d': '--debug',
  '-h': '--help',
  '-P': '--proxy',
  '-R': '--registrar',
  '-S': '--send',
  '-L': '--leg',
  '-T': '--timeout',
};
const TRANSPORTS = ['udp', 'tcp', 'tls', 'ws'] as const;

const VALUES: Record<string, (command: CheckSipCommand, value: string) => void> = {
  '--proxy': (c, v) => void (c.proxy = v),
  '--registrar': (c, v) => void (c.registrar = v),
  '--send': (c, v) => void c.send.push(v),
  '--leg': (c, v) => void (c.leg = v),
  '--timeout': (c, v) => void (c.timeout = seconds('--timeout', v)),
  '--username': (c, v) => void (c.username = v),
  '--password': (c, v) => void (c.password = v),
  '--deadline': (c, v) => void (c.deadline = seconds('--deadline', v)),
  '--transport': (c, v) => {
    const transport = TRANSPORTS.find((t) => t === v);
    if (!transport) throw new CheckSipUsageError(`--transport: found ${v}; allowed: ${TRANSPORTS.join(', ')}`);
    c.transport = transport;
  },
};

/** Every option with its long name, for a usage text that is to be complete. */
export const CHECK_SIP_OPTIONS = [...Object.keys(FLAGS), ...Object.keys(VALUES)] as const;

function seconds(option: string, text: string): number {
  const value = Number(text);
  if (!/^\d{1,5}(\.\d{1,3})?$/.test(text) || value === 0)
    throw new CheckSipUsageError(`${option}: found ${text}; allowed: seconds, more than 0`);
  return value;
}

/**
 * Reads the words behind `check_sip`. Throws {@link CheckSipUsageError}. With `help` FROM and TO may be missing (and are '').
 *
 * @example parseCheckSip(['-T', '9', '-S', 'welcome.data', 'sip:Bonnie@192.168.56.201', 'sip:Clyde@HOST'])
 */
export function parseCheckSip(args: readonly string[]): CheckSipCommand {
  const command: CheckSipCommand = {
    from: '',
    to: '',
    send: [],
    expectAudio: false,
    debug: false,
    json: false,
    help: false,
  };
  const words = [...args];
  const operands: string[] = [];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === '--') {
      operands.push(...words.splice(0));
    } else if (word === '-' || !word.startsWith('-')) operands.push(word);
    else takeOption(command, word, words);
  }
  if (command.help) return command;
  if (operands.length !== 2)
    throw new CheckSipUsageError(`found ${operands.length} operands; allowed: two, FROM and TO`);
  [command.from, command.to] = operands as [string, string];
  return command;
}

function takeOption(command: CheckSipCommand, word: string, rest: string[]): void {
  const equals = word.startsWith('--') ? word.indexOf('=') : -1;
  const short = SHORT[word.slice(0, 2)];
  const name = word.startsWith('--') ? (equals < 0 ? word : word.slice(0, equals)) : (short ?? word);
  // `-T9` carries its value with it, as getopt has it.
  const attached = equals >= 0 ? word.slice(equals + 1) : short && word.length > 2 ? word.slice(2) : undefined;
  const flag = FLAGS[name];
  if (flag !== undefined && attached === undefined) {
    command[flag] = true;
    return;
  }
  const take = VALUES[name];
  if (!take) throw new CheckSipUsageError(`found ${word}; allowed: ${CHECK_SIP_OPTIONS.join(', ')}, FROM and TO`);
  const value = attached ?? rest.shift();
  if (value === undefined || value === '')
    throw new CheckSipUsageError(`${name}: found nothing behind it; allowed: a value`);
  take(command, value);
}

/** A command line → its words: quotes hold words together, a backslash takes the next character as it is; nothing is expanded. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  for (const m of line.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g))
    words.push(m[0].replace(/"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/g, (_all, double?: string, single?: string, escaped?: string) =>
        double !== undefined ? double.replace(/\\(.)/g, '$1') : (single ?? escaped ?? '')));
  return words;
}

/** HOST and PORT, standing alone, become the backend's; an IPv6 address stands in brackets (RFC 3261 §25.1). */
export function forBackend(text: string, backend: { address: string; port: number }): string {
  const host = backend.address.includes(':') ? `[${backend.address}]` : backend.address;
  return text.replace(/(?<![\w-])(HOST|PORT)(?![\w-])/g, (token) => (token === 'HOST' ? host : String(backend.port)));
}
