import { expect, test } from 'vitest';
import {
  type Input,
  inviteClient,
  inviteServer,
  type Machine,
  nonInviteClient,
  nonInviteServer,
  responseInput,
  type State,
  step,
} from './machines.ts';
import { DEFAULT_BASE, nextInterval, timerValues } from './timers.ts';

/** Runs inputs through a machine; returns the states and all actions. */
function run(machine: Machine, ...inputs: Input[]): { states: State[]; actions: string[] } {
  let state = machine.initial;
  const states = [state];
  const actions: string[] = [...machine.create.actions];
  for (const input of inputs) {
    const transition = step(machine, state, input);
    if (transition) {
      state = transition.next;
      actions.push(...transition.actions);
    }
    states.push(state);
  }
  return { states, actions };
}

test('INVITE client: 180, 200, another 200 of a fork, then Timer M (RFC 6026)', () => {
  const { states, actions } = run(inviteClient, 'timer A', '1xx', 'timer A', '2xx', '2xx', '3xx-6xx', 'timer M');
  expect(states).toEqual([
    'calling',
    'calling',
    'proceeding',
    'proceeding',
    'accepted',
    'accepted',
    'accepted',
    'terminated',
  ]);
  expect(actions).toEqual(['send-request', 'send-request', 'pass', 'pass', 'pass']);
});

test('INVITE client: a failure is acknowledged at each retransmission and passed on once', () => {
  const { states, actions } = run(inviteClient, '3xx-6xx', '3xx-6xx', 'timer D');
  expect(states).toEqual(['calling', 'completed', 'completed', 'terminated']);
  expect(actions.filter((a) => a === 'send-ack')).toHaveLength(2);
  expect(actions.filter((a) => a === 'pass')).toHaveLength(1);
});

test.each([
  [inviteClient, 'timer B'],
  [nonInviteClient, 'timer F'],
] as const)('silence ends a client transaction and is reported', (machine, timer) => {
  expect(run(machine, timer)).toMatchObject({
    states: [machine.initial, 'terminated'],
    actions: ['send-request', 'report-timeout'],
  });
  expect(run(machine, 'transport-error').actions).toContain('report-transport-error');
});

test('INVITE server: retransmissions get the last response, the ACK ends Timer G, a 2xx absorbs the INVITE', () => {
  expect(run(inviteServer, 'request', '3xx-6xx', 'request', 'timer G', 'ack', 'request', 'timer I').states).toEqual([
    'proceeding',
    'proceeding',
    'completed',
    'completed',
    'completed',
    'confirmed',
    'confirmed',
    'terminated',
  ]);
  expect(run(inviteServer, '2xx', 'request').actions).toEqual(['pass']);
  expect(run(inviteServer, '3xx-6xx', 'timer H').actions).toContain('report-timeout');
});

test('non-INVITE server: nothing answers a retransmission before there is a response (RFC 4320)', () => {
  expect(run(nonInviteServer, 'request').actions).toEqual([]);
  expect(run(nonInviteServer, '2xx', 'request', 'timer J')).toEqual({
    states: ['trying', 'completed', 'completed', 'terminated'],
    actions: ['pass', 'resend-response'],
  });
});

test('every state but the last leads to Terminated by timers or errors alone: no transaction stays for ever', () => {
  for (const machine of [inviteClient, nonInviteClient, inviteServer, nonInviteServer]) {
    const ends = new Set<State>(['terminated']);
    const states = Object.keys(machine.table) as State[];
    for (let i = 0; i < states.length; i++)
      for (const s of states)
        for (const [input, transition] of Object.entries(machine.table[s]!))
          if (
            (input.startsWith('timer') || input === 'transport-error' || /xx$|^ack$/.test(input)) &&
            ends.has(transition!.next)
          )
            ends.add(s);
    for (const s of states) expect(ends.has(s), s).toBe(true);
  }
});

test('timers of table 4', () => {
  const udp = timerValues(DEFAULT_BASE, false);
  const tcp = timerValues(DEFAULT_BASE, true);
  expect([udp.B, udp.D, udp.I, udp.J, udp.K]).toEqual([32_000, 32_000, 5000, 32_000, 5000]);
  expect([tcp.D, tcp.I, tcp.J, tcp.K]).toEqual([0, 0, 0, 0]);
  expect(tcp.L).toBe(32_000);
  expect(nextInterval('A', 4000, DEFAULT_BASE)).toBe(8000);
  expect(nextInterval('E', 4000, DEFAULT_BASE)).toBe(4000);
  expect([100, 183, 200, 302, 603].map(responseInput)).toEqual(['100', '1xx', '2xx', '3xx-6xx', '3xx-6xx']);
});
