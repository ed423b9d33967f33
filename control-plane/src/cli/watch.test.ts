import { expect, test } from 'vitest';
import { farm, site, testCli } from './cli.fixture.ts';

/** Sleeps so often, then the user presses Ctrl-C. */
const sleeps = (times: number, meanwhile: (n: number) => Promise<unknown> = async () => {}) => {
  let n = 0;
  return async () => {
    await meanwhile(n);
    return n++ < times;
  };
};

test('status --watch writes what changed, until the user stops it', async () => {
  const { sipfleet, control } = await testCli();
  await control.put({ kind: 'Site', name: 'milan' });
  const { code, out } = await sipfleet('status --watch', {
    sleep: sleeps(4, async (n) => (n === 1 ? control.enrol() : undefined)),
  });
  expect(code).toBe(0);
  expect(out.match(/No agent has joined/g)).toHaveLength(1);
  expect(out.match(/AGENT +SITE/g)).toHaveLength(1);
});

test('on a terminal each look takes the place of the one before', async () => {
  const { sipfleet, file } = await testCli();
  await file('a.yaml', `${site('milan')}---\n${farm('pbx')}`);
  await sipfleet('apply -f a.yaml');
  const { out } = await sipfleet('checks pbx --watch', { terminal: true, sleep: sleeps(2) });
  expect(out.startsWith('\u001b[H\u001b[J')).toBe(true);
});
