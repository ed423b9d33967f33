import { expect, test } from 'vitest';
import { DEFAULT_RATES } from '../auth/limits.ts';
import { testCli } from './cli.fixture.ts';
import { type LimitFlags, limitsOf } from './limit-options.ts';

/** What the server is given for a command line. */
async function limits(args: string) {
  const cli = await testCli();
  const { code, err } = await cli.sipfleet(`control-plane ${args}`);
  return { code, err, ...(cli.launched.length > 0 ? limitsOf(cli.launched[0] as LimitFlags) : {}) };
}

test('what the options say by default is what a control plane without them does', async () => {
  expect(await limits('')).toMatchObject({ rates: DEFAULT_RATES });
});

test('there are limits unless one says otherwise', async () => {
  expect(await limits('')).toMatchObject({ code: 0, rates: { agent: 10, operator: 100, address: 20 } });
  expect(await limits('--limit-agent 600/m --limit-operator off --limit-address 2/s')).toMatchObject({
    rates: { agent: 10, operator: undefined, address: 2 },
  });
  expect(await limits('--trust-proxy 10.0.0.0/8 --trust-proxy ::1')).toMatchObject({
    trustedProxies: ['10.0.0.0/8', '::1'],
  });
});

test.each([
  ['--limit-agent 10', 'allowed: a rate with its unit, such as 10/s or 600/m, or off'],
  ['--limit-operator 0/s', 'allowed: a rate with its unit'],
  ['--trust-proxy ten', 'allowed: an address or a CIDR block'],
])('%s is refused', async (args, why) => {
  expect(await limits(args)).toMatchObject({ code: 1, err: expect.stringContaining(why) });
});
