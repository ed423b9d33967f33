import { ANSWER_CONTACT, CONTACT, inDialog, SDP, scenario, send, VIA } from './scenarios.ts';

/** SIPp scenarios of a caller who gives up while it rings, and of the callee. Fields as in scenarios.ts. */

/** What the callee says to the INVITE when it is cancelled: it rings no more, or its answer crosses the CANCEL. */
export type Outcome = '487 Request Terminated' | '200 OK';

const FROM = 'From: <sip:[field0]@[domain]>;tag=c[pid]-[call_number]';
const TO = 'To: <sip:[field2]@[domain]>';

/** One request of the caller, `back` steps after the one whose branch it has (RFC 3261 §9.1, §17.1.1.3). */
const along = (method: 'CANCEL' | 'ACK', back: number) =>
  send(
    [
      `${method} sip:[field2]@[domain] SIP/2.0`,
      VIA.replace('[branch]', `[branch-${back}]`),
      'Max-Forwards: 70',
      FROM,
      method === 'ACK' ? `${TO}[peer_tag_param]` : TO,
      'Call-ID: [call_id]',
      `CSeq: 1 ${method}`,
    ],
    { retransmit: method === 'CANCEL' },
  );

/** Fails where it answers another method. */
const answered = (status: number, method: 'INVITE' | 'CANCEL' | 'BYE') => `
  <recv response="${status}"><action>
    <ereg regexp="${method}" search_in="hdr" header="CSeq:" check_it="true" assign_to="${method}"/>
  </action></recv>`;

const INVITE = send(
  [
    'INVITE sip:[field2]@[domain] SIP/2.0',
    VIA,
    'Max-Forwards: 70',
    FROM,
    TO,
    'Call-ID: [call_id]',
    'CSeq: 1 INVITE',
    CONTACT,
  ],
  { body: SDP, retransmit: true },
);

/** Gets its 200 for the CANCEL and then this for the INVITE; a call that stands all the same it hangs up. */
export function cancellingCaller(outcome: Outcome): string {
  const stands = outcome === '200 OK';
  const end = stands ? `${inDialog('ACK', 1)}${inDialog('BYE', 2)}${answered(200, 'BYE')}` : along('ACK', 6);
  return scenario(
    'cancelling caller',
    `${INVITE}
  <recv response="100"/>
  <recv response="180" rrs="true"/>${along('CANCEL', 3)}${answered(200, 'CANCEL')}${answered(stands ? 200 : 487, 'INVITE')}${end}
  <Reference variables="INVITE,CANCEL${stands ? ',BYE' : ''}"/>`,
  );
}

const reply = (status: string, lines: string[], options: { body?: string; retransmit?: boolean } = {}) =>
  send([`SIP/2.0 ${status}`, ...lines, '[last_From:]', '[last_Call-ID:]'], options);

/** Rings until the CANCEL comes. */
export function cancelledCallee(outcome: Outcome): string {
  const stands = outcome === '200 OK';
  const to = '[last_To:];tag=a[pid]-[call_number]';
  // What came last is the CANCEL, with one Via. The caller knows its routes from the 180.
  const lines = ['Via:[$agent]', 'Via:[$caller]', to, 'CSeq: 1 INVITE', ANSWER_CONTACT];
  const final = reply(outcome, lines, { retransmit: true, ...(stands && { body: SDP }) });
  const end = stands
    ? `\n  <recv request="BYE"/>${reply('200 OK', ['[last_Via:]', '[last_To:]', '[last_CSeq:]'])}`
    : '';
  return scenario(
    'cancelled callee',
    `
  <recv request="INVITE"><action>
    <ereg regexp=".*" search_in="hdr" header="Via:" assign_to="agent"/>
    <ereg regexp=".*" search_in="hdr" header="Via:" occurrence="2" assign_to="caller"/>
  </action></recv>${reply('180 Ringing', ['[last_Via:]', '[last_Record-Route:]', to, '[last_CSeq:]', ANSWER_CONTACT])}
  <recv request="CANCEL"/>${reply('200 OK', ['[last_Via:]', to, '[last_CSeq:]'])}${final}
  <recv request="ACK"/>${end}
  <timewait milliseconds="200"/>`,
  );
}
