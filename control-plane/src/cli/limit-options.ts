import { parseCidr, parseRate } from '@sipfleet/contract';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ControlPlaneOptions } from '../server.ts';

/** Requests a second, or any number. */
type Limit = number | 'off';

/** Options of `control-plane` that say how much one may ask of it. */
export interface LimitFlags {
  limitAgent: Limit;
  limitOperator: Limit;
  limitAddress: Limit;
  trustProxy?: string[];
}

function limitOf(text: string): Limit {
  if (text === 'off') return text;
  const perSecond = parseRate(text);
  if (perSecond === undefined || perSecond === 0)
    throw new InvalidArgumentError('allowed: a rate with its unit, such as 10/s or 600/m, or off');
  return perSecond;
}

function proxyOf(text: string, all: string[] = []): string[] {
  if (parseCidr(text) === undefined)
    throw new InvalidArgumentError('allowed: an address or a CIDR block, such as 10.0.0.0/8 or 2001:db8::/32');
  return [...all, text];
}

const limit = (flag: string, description: string, perSecond: number): Option =>
  new Option(`${flag} <rate>`, description).argParser(limitOf).default(perSecond, `${perSecond}/s`);

export const limitOptions = (command: Command): Command =>
  command
    .addOption(limit('--limit-agent', 'requests of one agent before 429, ten seconds of it at once; off: any', 10))
    .addOption(limit('--limit-operator', 'requests of one operator or token; off: any', 100))
    .addOption(limit('--limit-address', 'requests of one address that prove nothing; off: any', 20))
    .addOption(
      new Option(
        '--trust-proxy <cidr>',
        'reverse proxy whose X-Forwarded-For is believed, for --limit-address; repeatable',
      ).argParser(proxyOf),
    );

const rateOf = (limit: Limit): number | undefined => (limit === 'off' ? undefined : limit);

/** As the server takes them. */
export const limitsOf = (flags: LimitFlags): Pick<ControlPlaneOptions, 'rates' | 'trustedProxies'> => ({
  rates: {
    agent: rateOf(flags.limitAgent),
    operator: rateOf(flags.limitOperator),
    address: rateOf(flags.limitAddress),
  },
  trustedProxies: flags.trustProxy,
});
