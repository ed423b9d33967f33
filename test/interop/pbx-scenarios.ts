import { ANSWER_CONTACT, answered, inDialog, SDP, scenario, send, VIA } from './scenarios.ts';

/** SIPp as a PBX that takes whatever comes and tells what it was, and as callers whose requests differ in all that a balancer can go by. */

/** What {@link pbxScenario} tells of a request. */
export interface Taken {
  method: string;
  callId: string;
  /** `sip:user@domain` */
  from: string;
  to: string;
  /** Value of X-Tenant, '' where there is none. */
  tenant: string;
  /** It came within a dialog. */
  inDialog: boolean;
}

const LOGGED = ['CSeq', 'Call-ID', 'From', 'To', 'X-Tenant'];
const log = `<action>${LOGGED.map(
  (header, i) => `<ereg regexp=".*" search_in="hdr" header="${header}:" assign_to="${i + 1}"/>`,
).join('')}<log message="${LOGGED.map((_, i) => `[$${i + 1}]`).join('|')}"/></action>`;

const ok = (lines: string[], options: { body?: string; retransmit?: boolean } = {}) =>
  send(['SIP/2.0 200 OK', '[last_Via:]', '[last_From:]', ...lines, '[last_Call-ID:]', '[last_CSeq:]'], options);
const TO = '[last_To:];tag=p[pid]-[call_number]';

const again = ok(['[last_To:]', ANSWER_CONTACT], { body: SDP });

/** Answers a call, any number of re-INVITEs and its BYE, and any other request with 200, a health check's OPTIONS too. */
export const pbxScenario = scenario(
  'pbx',
  `
  <recv request="INVITE" optional="true" next="1">${log}</recv>
  <recv request="OPTIONS|MESSAGE|REGISTER" regexp_match="true">${log}</recv>${ok([TO])}
  <nop next="2"/>
  <label id="1"/>${ok(['[last_Record-Route:]', TO, ANSWER_CONTACT], { body: SDP, retransmit: true })}
  <recv request="ACK"/>
  <label id="3"/>
  <recv request="INVITE" optional="true" next="4">${log}</recv>
  <recv request="BYE">${log}</recv>${ok(['[last_To:]'])}
  <nop next="2"/>
  <label id="4"/>${again}
  <recv request="ACK" next="3"/>
  <label id="2"/>`,
);

/** Reads what {@link pbxScenario} has logged. A request that was sent again counts once. */
export function takenOf(logged: string): Taken[] {
  const taken = new Map<string, Taken>();
  for (const line of logged.split('\n').filter(Boolean)) {
    const [cseq = '', callId = '', from = '', to = '', tenant = ''] = line.split('|').map((part) => part.trim());
    const method = cseq.split(' ')[1] ?? '';
    const uri = (header: string) => /<([^>]+)>/.exec(header)?.[1] ?? header;
    taken.set(`${callId} ${cseq}`, {
      method,
      callId,
      from: uri(from),
      to: uri(to),
      tenant,
      inDialog: /;\s*tag=/.test(to),
    });
  }
  return [...taken.values()];
}

/** One CSV row of {@link askScenario} and {@link dialScenario}. */
export const askRow = (ask: { from?: string; to?: string; domain?: string; more?: string }): string[] => [
  ask.from ?? 'caller',
  ask.to ?? 'callee',
  ask.domain ?? 'example.test',
  ask.more ?? 'X-Nothing: here',
];

const ask = (method: string, sequence: number, { body, suffix = '' }: { body?: string; suffix?: string } = {}) =>
  send(
    [
      `${method} sip:[field1]${suffix}@[field2] SIP/2.0`,
      VIA,
      'Max-Forwards: 70',
      `From: <sip:[field0]${suffix}@[field2]>;tag=c[pid]-[call_number]`,
      `To: <sip:[field1]${suffix}@[field2]>`,
      'Call-ID: [call_id]',
      `CSeq: ${sequence} ${method}`,
      'Contact: <sip:[field0]@[local_ip]:[local_port];transport=[transport]>',
      '[field3]',
    ],
    { retransmit: true, ...(body !== undefined && { body }) },
  );

/** Requests outside of any dialog, one after the other under one Call-ID, each answered with 200. `strangers`: each from and to others. */
export const askScenario = (methods: readonly string[], strangers = false): string =>
  scenario(
    'ask',
    methods
      .map((method, i) => `${ask(method, i + 1, strangers ? { suffix: `-${i}` } : {})}\n  <recv response="200"/>`)
      .join(''),
  );

const within = (method: string, sequence: number) =>
  inDialog(method, sequence, 'sip:[field0]@[field2]', 'sip:[field1]@[field2]');

/** A call to {@link pbxScenario} that is hung up after `holdMs`. */
export const dialScenario = (holdMs = 0): string =>
  scenario(
    'dial',
    `${ask('INVITE', 1, { body: SDP })}${answered(200, ' rrs="true"')}${within('ACK', 1)}
  <pause milliseconds="${holdMs}"/>${within('BYE', 2)}${answered(200)}`,
  );
