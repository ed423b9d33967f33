import { describe, expect, test } from 'vitest';
import { whereRegistered } from '../interop/kamailio.ts';
import { netSipAnswer, netSipCall } from '../interop/netsip.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, USERS, useStage } from './stage.ts';

describe.skipIf(!canUseNamespaces()).each([1, 3])('Net::SIP as an independent client, %i workers', (workers) => {
  const stage = useStage();

  test('registers, calls from behind NAT, talks and hangs up', async () => {
    const s = stage();
    await s.startPbxs({ challengeCalls: true });
    await s.startAgent({ workers });
    const common = { proxy: s.service, domain: DOMAIN };
    const clyde = netSipAnswer({ ...common, host: s.net.client2, port: 5064, user: 'clyde', password: USERS.clyde });
    await clyde.sees(/^registered$/m);
    const bonnie = netSipCall(
      { ...common, host: s.net.client1, port: 5064, user: 'bonnie', password: USERS.bonnie },
      'clyde',
    );
    expect(words(await bonnie.succeeds(60_000))).toEqual(['registered', 'established', 'media 50 packets', 'ended']);
    expect(words(await clyde.succeeds(60_000))).toEqual(['registered', 'ringing', 'answered', 'ended']);
    // Registered apart, so the call crossed from one PBX's user to the other's.
    await Promise.all((['bonnie', 'clyde'] as const).map((user) => whereRegistered(user, s.pbxs)));
    expect(s.pbxs.map((pbx) => [pbx.knows('bonnie'), pbx.knows('clyde')])).toEqual([
      [true, false],
      [false, true],
    ]);
  });
});

const words = (output: string): string[] => output.trim().split('\n');
