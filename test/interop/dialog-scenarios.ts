import { ANSWER_CONTACT, answered, CONTACT, SDP, scenario, send, VIA } from './scenarios.ts';

/** SIPp scenarios of what goes on within a dialog: every step of one side has its counterpart in the other. Fields as in scenarios.ts. */

type Method = 'INVITE' | 'UPDATE' | 'INFO' | 'MESSAGE' | 'BYE' | 'SUBSCRIBE' | 'NOTIFY';

/** RFC 4028. */
const TIMER = ['Supported: timer', 'Session-Expires: 90;refresher=uac', 'Min-SE: 90'];
const SUBSCRIPTION = ['Event: presence'];

interface Side {
  from: string;
  to: string;
  contact: string;
}
const CALLER: Side = {
  from: 'From: <sip:[field0]@[domain]>;tag=c[pid]-[call_number]',
  to: 'To: <sip:[field2]@[domain]>[peer_tag_param]',
  contact: CONTACT,
};
/** Own and remote address as the first request named them. */
const CALLEE: Side = {
  from: 'From:[$own];tag=a[pid]-[call_number]',
  to: 'To:[$peer]',
  contact: ANSWER_CONTACT,
};
/** A proxy of several processes may let a 200 overtake the 180 that was sent just before it. */
const RINGS = `
  <pause milliseconds="100"/>`;

const REMEMBER = `<action>
    <ereg regexp=".*" search_in="hdr" header="To:" assign_to="own"/>
    <ereg regexp=".*" search_in="hdr" header="From:" assign_to="peer"/>
  </action>`;

const withBody = (method: Method) => method === 'INVITE' || method === 'UPDATE';

/**
 * Before a side asks for something, since it may have answered just now: on a PBX with several processes its request could overtake that answer,
 * and SIPp gives up on what it does not expect yet.
 */
const BREATH = '\n  <pause milliseconds="250"/>';

/** A request within the dialog and its answer. */
function ask(side: Side, method: Method, sequence: number, extra: string[] = []): string {
  const lines = (name: string) => [
    `${name} [next_url] SIP/2.0`,
    VIA,
    '[routes]',
    'Max-Forwards: 70',
    side.from,
    side.to,
    'Call-ID: [call_id]',
    `CSeq: ${sequence} ${name}`,
    side.contact,
  ];
  const request = send([...lines(method), ...extra], { retransmit: true, ...(withBody(method) && { body: SDP }) });
  const asked = `${BREATH}${request}${answered(200)}`;
  return method === 'INVITE' ? `${asked}${send(lines('ACK'))}` : asked;
}

/** Takes one and answers it. */
function take(method: Method, extra: string[] = []): string {
  const contact = method === 'MESSAGE' || method === 'BYE' ? [] : [ANSWER_CONTACT];
  const lines = [
    'SIP/2.0 200 OK',
    ...['Via', 'From', 'To', 'Call-ID', 'CSeq'].map((name) => `[last_${name}:]`),
    ...contact,
    ...extra,
  ];
  const answered = `
  <recv request="${method}"/>${send(lines, withBody(method) ? { body: SDP } : {})}`;
  return method === 'INVITE' ? `${answered}\n  <recv request="ACK"/>` : answered;
}

/** What passes while a call stands, in order: who asks, and what. Each request waits for the answer to the one before. */
const TALK: [from: 'caller' | 'callee', method: Method, extra?: string[]][] = [
  ['caller', 'INVITE', TIMER],
  ['callee', 'INVITE'],
  ['caller', 'UPDATE', TIMER],
  ['callee', 'UPDATE'],
  ['caller', 'INFO'],
  ['callee', 'INFO'],
  ['caller', 'MESSAGE'],
  ['callee', 'MESSAGE'],
  ['caller', 'INVITE', TIMER],
  ['callee', 'BYE'],
];
/** Requests within the dialog that the scenarios below send, by method. */
export const TALKED = Object.groupBy(TALK, ([, method]) => method);

/** One party's part of a list: what it asks, and what it takes. */
const part = (who: 'caller' | 'callee', talk: typeof TALK, first: number) =>
  talk
    .map(([from, method, extra], i) =>
      from === who ? ask(who === 'caller' ? CALLER : CALLEE, method, first + i, extra) : take(method),
    )
    .join('');

const established = (method: 'INVITE' | 'SUBSCRIBE', extra: string[]) =>
  send(
    [
      `${method} sip:[field2]@[domain] SIP/2.0`,
      VIA,
      'Max-Forwards: 70',
      CALLER.from,
      'To: <sip:[field2]@[domain]>',
      'Call-ID: [call_id]',
      `CSeq: 1 ${method}`,
      CONTACT,
      ...extra,
    ],
    { retransmit: true, ...(method === 'INVITE' && { body: SDP }) },
  );

const accepted = (status: string, extra: string[], body: boolean) =>
  send(
    [
      `SIP/2.0 ${status}`,
      '[last_Via:]',
      '[last_Record-Route:]',
      '[last_From:]',
      '[last_To:];tag=a[pid]-[call_number]',
      '[last_Call-ID:]',
      '[last_CSeq:]',
      ANSWER_CONTACT,
      ...extra,
    ],
    body ? { body: SDP, retransmit: true } : {},
  );

const ACK = send([
  'ACK [next_url] SIP/2.0',
  VIA,
  '[routes]',
  'Max-Forwards: 70',
  CALLER.from,
  CALLER.to,
  'Call-ID: [call_id]',
  'CSeq: 1 ACK',
]);

/** Both parties of a call in which `talk` is said. */
const talking = (talk: typeof TALK) => ({
  caller: scenario(
    'talking caller',
    `${established('INVITE', TIMER)}
  <recv response="100" optional="true"/>
  <recv response="180"/>
  <recv response="200" rrs="true"/>${ACK}${part('caller', talk, 2)}`,
  ),
  callee: scenario(
    'talking callee',
    `
  <recv request="INVITE" rrs="true">${REMEMBER}</recv>${accepted('180 Ringing', [], false)}${RINGS}${accepted('200 OK', TIMER, true)}
  <recv request="ACK"/>${part('callee', talk, 2)}
  <timewait milliseconds="200"/>`,
  ),
});

/** A call with session timers in which both sides ask for everything that a call may bring; the callee ends it. */
export const { caller: talkingCaller, callee: talkingCallee } = talking(TALK);

/** A call that either side renews once by a re-INVITE, before one of them ends it. */
export const renewedCall = (ender: 'caller' | 'callee') =>
  talking([
    ['caller', 'INVITE', TIMER],
    ['callee', 'INVITE'],
    [ender, 'BYE'],
  ]);

const active = [...SUBSCRIPTION, 'Subscription-State: active;expires=60'];
const over = [...SUBSCRIPTION, 'Subscription-State: terminated;reason=timeout'];
const WATCH: typeof TALK = [
  ['callee', 'NOTIFY', active],
  ['caller', 'SUBSCRIBE', [...SUBSCRIPTION, 'Expires: 60']],
  ['callee', 'NOTIFY', active],
  ['caller', 'SUBSCRIBE', [...SUBSCRIPTION, 'Expires: 0']],
  ['callee', 'NOTIFY', over],
];

/** RFC 6665: a subscription with its notifications, refreshed once and then ended. */
export const subscriber = scenario(
  'subscriber',
  `${established('SUBSCRIBE', [...SUBSCRIPTION, 'Expires: 60'])}${answered(200, ' rrs="true"')}${part('caller', WATCH, 2)}`,
);
export const notifier = scenario(
  'notifier',
  `
  <recv request="SUBSCRIBE" rrs="true">${REMEMBER}</recv>${accepted('200 OK', ['Expires: 60'], false)}${part('callee', WATCH, 2)}
  <timewait milliseconds="200"/>`,
);
