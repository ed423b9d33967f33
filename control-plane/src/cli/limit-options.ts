import { parseCidr, parseRate } from '@sipfleet/contract';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ControlPlaneOptions } from '../server.ts';

/** Options of `control-plane` that say how much one may ask of it. Requests a second; null: any number. */
export interface LimitFlags {
  limitAgent: number | null;
  limitOperator: number | null;
  limitAddress: number | null;
  trustProxy?: string[];
}

function rateOf(text: string): number | null {
  if (text === 'off') return null;
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
  new Option(`${flag} <rate>`, description).argParser(rateOf).default(perSecond, `${perSecond}/s`);

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

/** As the server takes them. */
export const limitsOf = (flags: LimitFlags): Pick<ControlPlaneOptions, 'rates' | 'trustedProxies'> => ({
  rates: {
    agent: flags.limitAgent ?? undefined,
    operator: flags.limitOperator ?? undefined,
    address: flags.limitAddress ?? undefined,
  },
  trustedProxies: flags.trustProxy,
});
