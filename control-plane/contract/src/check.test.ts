import { expect, test } from 'vitest';
import { acceptsCode, type Check, callOf } from './check.ts';
import { forBackend, parseCheckSip, splitWords } from './check-sip.ts';
import { cycleOf } from './cycle.ts';
import { Farm } from './farm.ts';
import type { Fault, ValidationError } from './faults.ts';
import { parseResource } from './resource.ts';

const farm = (check: object, more: object = {}) => ({
  kind: 'Farm',
  name: 'pbx',
  sites: ['milan'],
  listeners: [{ transport: 'udp', port: 5060 }],
  backends: [{ name: 'a', address: '192.0.2.1' }],
  checks: [{ name: 'c', ...check }],
  ...more,
});
const read = (check: object, more?: object): Check => Farm.parse(parseResource(farm(check, more))).checks[0] as Check;
function faults(check: object, more?: object): Fault[] {
  try {
    parseResource(farm(check, more));
  } catch (error) {
    return [...(error as ValidationError).faults];
  }
  return [];
}
/** The article's third command, as written. */
const SEED = 'check_sip -T 9 -S welcome.data -S announce.data sip:Bonnie@192.168.56.201 sip:Clyde@HOST';

test('every type has its own defaults', () => {
  expect(read({ type: 'options' })).toMatchObject({ interval: '5s', timeout: '2s', rise: 2, fall: 3 });
  expect(read({ type: 'options', interval: '1s' })).toMatchObject({ timeout: '1s' });
  expect(read({ type: 'tls', daysLeft: 14 })).toMatchObject({ interval: '1m', timeout: '5s' });
  expect(read({ type: 'call', command: SEED })).toMatchObject({ interval: '1m', timeout: '10s' });
});

test('the article’s command is taken as written, and HOST becomes each backend', () => {
  const call = callOf(read({ type: 'call', command: SEED }));
  expect(call).toMatchObject({
    timeout: 9,
    send: ['welcome.data', 'announce.data'],
    from: 'sip:Bonnie@192.168.56.201',
  });
  expect(forBackend(call.to, { address: '192.0.2.1', port: 5060 })).toBe('sip:Clyde@192.0.2.1');
  expect(forBackend('sip:HOSTESS@HOST:PORT', { address: '2001:db8::1', port: 5070 })).toBe(
    'sip:HOSTESS@[2001:db8::1]:5070',
  );
});

test('the call in fields is the same as the call in a command', () => {
  const fields = { from: 'sip:Bonnie@192.168.56.201', to: 'sip:Clyde@HOST', send: ['welcome.data', 'announce.data'] };
  expect({ ...callOf(read({ type: 'call', ...fields })), timeout: 9 }).toEqual(
    callOf(read({ type: 'call', command: SEED })),
  );
});

test.each([
  [{ type: 'options', command: SEED }, 'command', 'only with type call'],
  [{ type: 'tcp', codes: [200] }, 'codes', 'only with type options, register, call'],
  [{ type: 'options', codes: [99] }, 'codes[0]', 'a status code from 200 to 699, or a class such as 2xx'],
  [{ type: 'register' }, 'credentials', 'the name of a Secret'],
  [{ type: 'call', command: 'check_sip sip:a@192.0.2.1 sip:b@192.0.2.2' }, 'command', 'the token HOST'],
  [{ type: 'call', command: 'ping HOST' }, 'command', 'a check_sip command line'],
  [{ type: 'call', command: 'check_sip --fast sip:a@b sip:b@HOST' }, 'command', 'a check_sip command line'],
  [{ type: 'call', command: 'check_sip --username 3 --password x sip:a@b sip:b@HOST' }, 'command', 'a Secret'],
  [{ type: 'call', command: 'check_sip -S /etc/passwd sip:a@b sip:b@HOST' }, 'command', 'welcome.data, announce.data'],
  [{ type: 'call', command: SEED, to: 'sip:b@HOST' }, 'to', 'either command or fields'],
  [{ type: 'call', from: 'sip:a@b', to: 'sip:b@192.0.2.1' }, 'to', 'HOST'],
])('%j is refused at %s', (check, field, allowed) => {
  const found = faults(check);
  expect(found.map((f) => f.field)).toEqual([`checks[0].${field}`]);
  expect(found[0]?.allowed).toContain(allowed);
});

test('an interval that would exceed the limit of calls at once is refused, with the least that fits', () => {
  const call = { type: 'call', command: SEED };
  const sites = { sites: ['milan', 'rome'] };
  const [fault] = faults(call, sites);
  expect(fault).toMatchObject({ field: 'checks[0].interval' });
  expect(fault?.allowed).toMatch(/^at least 104s;/);
  expect(faults({ ...call, interval: '104s' }, sites)).toEqual([]);
  expect(faults(call, { ...sites, health: { maxConcurrentCalls: 2 } })).toEqual([]);
});

test('a cycle keeps the interval that was asked for and uses the room that there is', () => {
  const cycle = cycleOf(Farm.parse(parseResource(farm({ type: 'call', command: SEED, interval: '2m' }))));
  expect(cycle).toMatchObject({ slotMs: 13_000, periodMs: 120_000, lanes: 1, checks: [{ slots: 8, everyCycles: 1 }] });
});

test('cutConnections is true or false', () => {
  const [fault] = faults({ type: 'options' }, { health: { cutConnections: 'yes' } });
  expect(fault).toMatchObject({ field: 'health.cutConnections', allowed: 'true or false' });
  expect(faults({ type: 'options' }, { health: { cutConnections: true } })).toEqual([]);
});

test('the options of check_sip, joined and apart', () => {
  expect(
    parseCheckSip(['-T10', '--proxy=192.0.2.3', '-R', '-', '--expect-audio', 'sip:30@example.com', '31']),
  ).toMatchObject({
    timeout: 10,
    proxy: '192.0.2.3',
    registrar: '-',
    expectAudio: true,
    to: '31',
  });
  expect(() => parseCheckSip(['-T', 'soon', 'a', 'b'])).toThrow('--timeout: found soon; allowed: seconds, more than 0');
  expect(() => parseCheckSip(['a'])).toThrow('found 1 operands; allowed: two, FROM and TO');
  expect(() => parseCheckSip(['--json=1', 'a', 'b'])).toThrow('found --json=1');
  expect(parseCheckSip(['-h'])).toMatchObject({ help: true });
});

test('words are split as a shell does it, without expanding anything', () => {
  expect(splitWords(`a "b c" d\\ e 'f "g"' h"i j"`)).toEqual(['a', 'b c', 'd e', 'f "g"', 'hi j']);
  expect(splitWords('$(id) *')).toEqual(['$(id)', '*']);
});

test('codes are numbers or classes; without any the type decides', () => {
  expect(acceptsCode([486, '2xx'], 486, () => false)).toBe(true);
  expect(acceptsCode([486, '2xx'], 404, () => true)).toBe(false);
  expect(acceptsCode(undefined, 404, (s) => s === 404)).toBe(true);
});
