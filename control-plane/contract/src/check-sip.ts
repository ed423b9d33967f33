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
  /** dBFS that the audio must have; implies `expectAudio`. */
  minLevel?: number;
  /** Percent of the packets that may be lost; implies `expectAudio`. */
  maxLoss?: number;
  /** A file that holds the password. */
  passwordFile?: string;
  /** A file with the certificates to trust (PEM). */
  tlsCa?: string;
  tlsInsecure: boolean;
  /** `ip[:port]` of the name server to ask. */
  dns?: string;
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
const FLAGS: Record<string, 'debug' | 'help' | 'expectAudio' | 'json' | 'tlsInsecure'> = {
  '--debug': 'debug',
  '--help': 'help',
  '--expect-audio': 'expectAudio',
  '--json': 'json',
  '--tls-insecure': 'tlsInsecure',
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

/** Options with a value, by the field that takes it. */
type Text = 'proxy' | 'registrar' | 'leg' | 'username' | 'password' | 'passwordFile' | 'tlsCa' | 'dns';
const TEXTS: Record<string, Text> = {
  '--proxy': 'proxy',
  '--registrar': 'registrar',
  '--leg': 'leg',
  '--username': 'username',
  '--password': 'password',
  '--password-file': 'passwordFile',
  '--tls-ca': 'tlsCa',
  '--dns': 'dns',
};
const SECONDS: Record<string, 'timeout' | 'deadline'> = { '--timeout': 'timeout', '--deadline': 'deadline' };
/** Bounds of the audio, with the least and the most that can be meant. */
const BOUNDS: Record<string, readonly ['minLevel' | 'maxLoss', number, number]> = {
  '--min-level': ['minLevel', -96, 0],
  '--max-loss': ['maxLoss', 0, 100],
};

/** Every option with its long name, for a usage text that is to be complete. */
export const CHECK_SIP_OPTIONS = [
  ...Object.keys(FLAGS),
  ...Object.keys(TEXTS),
  ...Object.keys(SECONDS),
  ...Object.keys(BOUNDS),
  '--send',
  '--transport',
] as const;

function seconds(option: string, text: string): number {
  const value = Number(text);
  if (!/^\d{1,5}(\.\d{1,3})?$/.test(text) || value === 0)
    throw new CheckSipUsageError(`${option}: found ${text}; allowed: seconds, more than 0`);
  return value;
}

function bound(option: string, text: string, least: number, most: number): number {
  const value = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new CheckSipUsageError(`${option}: found ${text}; allowed: a number from ${least} to ${most}`);
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
    tlsInsecure: false,
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
  if (flag !== undefined || !CHECK_SIP_OPTIONS.includes(name))
    throw new CheckSipUsageError(`found ${word}; allowed: ${CHECK_SIP_OPTIONS.join(', ')}, FROM and TO`);
  const value = attached ?? rest.shift();
  if (value === undefined || value === '')
    throw new CheckSipUsageError(`${name}: found nothing behind it; allowed: a value`);
  setValue(command, name, value);
}

function setValue(command: CheckSipCommand, name: string, value: string): void {
  const text = TEXTS[name];
  const time = SECONDS[name];
  const limits = BOUNDS[name];
  if (text !== undefined) command[text] = value;
  else if (limits !== undefined) {
    command[limits[0]] = bound(name, value, limits[1], limits[2]);
    command.expectAudio = true;
  } else if (time !== undefined) command[time] = seconds(name, value);
  else if (name === '--send') command.send.push(value);
  else {
    const transport = TRANSPORTS.find((t) => t === value);
    if (!transport) throw new CheckSipUsageError(`${name}: found ${value}; allowed: ${TRANSPORTS.join(', ')}`);
    command.transport = transport;
  }
}

/** A command line → its words: quotes hold words together, a backslash takes the next character as it is; nothing is expanded. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  for (const m of line.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g))
    words.push(
      m[0].replace(
        /"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/g,
        (_all, double?: string, single?: string, escaped?: string) =>
          double !== undefined ? double.replace(/\\(.)/g, '$1') : (single ?? escaped ?? ''),
      ),
    );
  return words;
}

/** HOST and PORT, standing alone, become the backend's; an IPv6 address stands in brackets (RFC 3261 §25.1). */
export function forBackend(text: string, backend: { address: string; port: number }): string {
  const host = backend.address.includes(':') ? `[${backend.address}]` : backend.address;
  return text.replace(/(?<![\w-])(HOST|PORT)(?![\w-])/g, (token) => (token === 'HOST' ? host : String(backend.port)));
}
