import { parseDuration } from '@sipfleet/contract';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { agentHttp } from './agent-http.ts';
import { calls, explain, ladder } from './calls.ts';
import { type Done, examples } from './command.ts';
import { colorsFor, type Io } from './io.ts';
import { outputOption } from './output.ts';
import { top } from './top.ts';

const NOTE = `
Asks one agent itself, at the address that it serves /metrics at (sipfleet-agent --admin, by default 127.0.0.1:8081 on its own machine).
What is kept there leaves out credentials and the headers of --recorder-hide.
`;

/** Adds the commands that ask an agent about its calls. */
export function addObservers(program: Command, io: Io, done: Done): void {
  const admin = () =>
    new Option('--admin <host:port>', 'the agent to ask (or SIPFLEET_ADMIN)').default(
      io.env.SIPFLEET_ADMIN ?? '127.0.0.1:8081',
    );
  program
    .command('calls')
    .description(
      'calls that an agent kept: those that failed, were slow or moved to another backend, and some of the rest',
    )
    .option('--failed', 'leave out those that are only a sample')
    .option('--user <user>', 'only those from or to this user or URI')
    .addOption(outputOption())
    .addOption(admin())
    .addHelpText('after', `${NOTE}${examples('calls --failed', 'calls --user clyde --admin 10.0.0.5:8081')}`)
    .action(async (options) => done(await calls(agentHttp(options.admin, io), options, io, colorsFor(io))));
  program
    .command('ladder')
    .description('who said what to whom in a kept call')
    .argument('<call-id>', 'see sipfleet calls')
    .option('--full', 'with the messages themselves')
    .option('--pcap <file>', 'write them to a capture file for Wireshark instead')
    .option('--hep <file>', 'write them as HEPv3 packets, to be played into a HEP server: nc homer 9060 < FILE')
    .addOption(outputOption())
    .addOption(admin())
    .addHelpText(
      'after',
      `${NOTE}${examples('ladder a84b4c76e66710@pc33', 'ladder a84b4c76e66710@pc33 --pcap call.pcap', 'ladder a84b4c76e66710@pc33 -o json')}`,
    )
    .action(async (callId: string, options) => done(await ladder(agentHttp(options.admin, io), callId, options, io)));
  program
    .command('explain')
    .description('why this backend: key, candidates in order, and what speaks against each')
    .argument('[call-id]', 'a kept call, see sipfleet calls')
    .option('--user <user>', 'where calls to this user, and its registrations, go now')
    .option('--farm <farm>', 'in this farm only, with --user')
    .addOption(outputOption())
    .addOption(admin())
    .addHelpText('after', `${NOTE}${examples('explain --user clyde', 'explain a84b4c76e66710@pc33')}`)
    .action(async (callId: string | undefined, options) =>
      done(await explain(agentHttp(options.admin, io), callId, options, io, colorsFor(io))),
    );
  program
    .command('top')
    .description('live view of one agent: sessions, registrations, failures, backends')
    .addOption(new Option('--interval <duration>', 'between two looks').argParser(interval).default(2000, '2s'))
    .option('--once', 'print one view and end')
    .addOption(outputOption())
    .addOption(admin())
    .addHelpText('after', `${NOTE}${examples('top', 'top --once --admin 10.0.0.5:8081', 'top --once -o json')}`)
    .action(async (options) => done(await top(agentHttp(options.admin, io), options, io, colorsFor(io))));
}

function interval(text: string): number {
  const ms = parseDuration(text);
  if (typeof ms !== 'number' || ms < 200 || ms > 60_000) throw new InvalidArgumentError('allowed: from 200ms to 1m');
  return ms;
}
