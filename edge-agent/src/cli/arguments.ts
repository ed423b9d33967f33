import { readFileSync } from 'node:fs';
import { type CheckSipCommand, CheckSipUsageError, parseCheckSip } from '@sipfleet/contract';
import { AgentError } from '../errors.ts';
import type { CallOptions } from '../health/call/options.ts';

export const USAGE = `usage: check_sip [ options ] FROM TO
Makes a SIP call from FROM to TO, sends voice from multiple files to the peer.
The content of the files is PCMU/8000 without a header; without a file a second of tone is sent.

  -d|--debug                   print every SIP message to stderr
  -h|--help                    this text
  -P|--proxy host[:port]       use outgoing proxy, register there unless registrar given
  -R|--registrar host[:port]   register at given address; - : do not register
  -S|--send filename           send content of file, can be given multiple times
  -L|--leg ip[:port]           use given local address
  -T|--timeout T               timeout and cancel invite after T seconds, default 30
  --username name              user name for authorization
  --password pass              password for authorization; better, for it is not seen in process lists:
  --password-file filename     read it from a file, or from the environment variable SIPFLEET_PASSWORD
  --deadline T                 whole check, hanging up included, in at most T seconds;
                               default: the timeout, the audio, and 10 seconds
  --expect-audio               audio must come back
  --min-level dBFS             … and be at least this loud, such as -50
  --max-loss percent           … and lose at most this share of its packets
  --transport udp|tcp|tls|ws   default: what TO says (;transport=, sips:), else udp
  --tls-ca filename            trust these certificates (PEM)
  --tls-insecure               trust any certificate
  --dns ip[:port]              ask this name server
  --json                       print the whole result as JSON

Exit code: 0 OK, 1 WARNING (called, but not ended in order), 2 CRITICAL, 3 UNKNOWN.

Examples:
  check_sip -T 10 -S welcome.data -S announce.data sip:30@192.168.178.4 sip:31@192.168.178.1
  check_sip --username 30 --password secret --proxy=192.168.178.3 -S holy.data sip:30@example.com 31
  check_sip -T 9 --expect-audio --min-level=-50 --transport tcp sip:Bonnie@192.168.56.201 sip:Clyde@192.168.56.10
`;

/** What a command line asks for. */
export type Command = { kind: 'help' } | { kind: 'call'; options: CallOptions; debug: boolean; json: boolean };

/** Reads a command line. @throws {AgentError} USAGE: what, found, allowed. */
export function parseCommand(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Command {
  const command = parsed(argv);
  if (command.help) return { kind: 'help' };
  const { from, to, proxy, registrar, leg, transport, timeout, deadline, minLevel, maxLoss, debug, json } = command;
  const ca = command.tlsCa === undefined ? undefined : textOf('--tls-ca', command.tlsCa);
  const bounds = { ...given('minLevelDb', minLevel), ...given('maxLoss', maxLoss && maxLoss / 100) };
  const options: CallOptions = {
    from,
    to,
    send: command.send.map((file) => contentOf('--send', file)),
    ...given('proxy', proxy),
    ...given('registrar', registrar === '-' ? false : registrar),
    ...given('leg', leg),
    ...given('transport', transport),
    ...given('timeoutMs', timeout && timeout * 1000),
    ...given('deadlineMs', deadline && deadline * 1000),
    ...given('credentials', credentialsOf(command, environment)),
    ...given('nameServers', command.dns === undefined ? undefined : [command.dns]),
    ...(command.expectAudio ? { expectAudio: bounds } : {}),
    tls: { ...given('ca', ca), ...(command.tlsInsecure ? { insecure: true } : {}) },
  };
  return { kind: 'call', options, debug, json };
}

function parsed(argv: readonly string[]): CheckSipCommand {
  try {
    return parseCheckSip(argv);
  } catch (error) {
    if (error instanceof CheckSipUsageError) throw new AgentError('USAGE', error.message, { cause: error });
    throw error;
  }
}

/** `--password` before `--password-file` before the environment. */
function credentialsOf(
  { username, password, passwordFile }: CheckSipCommand,
  environment: Readonly<Record<string, string | undefined>>,
): { username: string; password: string } | undefined {
  const inFile = passwordFile === undefined ? undefined : textOf('--password-file', passwordFile).replace(/\r?\n$/, '');
  const secret = password ?? inFile ?? environment.SIPFLEET_PASSWORD;
  if (username === undefined) {
    if ((password ?? inFile) === undefined) return undefined;
    throw new AgentError('USAGE', '--username: found none; allowed: a name beside the password');
  }
  if (secret !== undefined) return { username, password: secret };
  const allowed = 'one beside --username: --password, --password-file, or SIPFLEET_PASSWORD';
  throw new AgentError('USAGE', `password: found none; allowed: ${allowed}`);
}

function contentOf(option: string, file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = { ENOENT: 'no such file', EACCES: 'not readable', EISDIR: 'a directory' }[code ?? ''] ?? message;
    throw new AgentError('USAGE', `${option} ${file}: ${why}`, { cause: error });
  }
}

const textOf = (option: string, file: string): string => Buffer.from(contentOf(option, file)).toString('utf8');
const given = <K extends string, V>(key: K, value: V | undefined) =>
  (value === undefined ? {} : { [key]: value }) as { [P in K]?: V };
