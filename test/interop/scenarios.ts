/**
 * SIPp scenarios as code. CSV fields: 0 user, 1 its `[authentication …]`, 2 callee. Key: `domain`.
 * Via carries rport (RFC 3581): a phone behind NAT is answered where it sent from.
 */

export const VIA = 'Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]';
export const CONTACT = 'Contact: <sip:[field0]@[local_ip]:[local_port];transport=[transport]>';
export const ANSWER_CONTACT = 'Contact: <sip:callee@[local_ip]:[local_port];transport=[transport]>';
export const SDP = `v=0
o=sipp 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000`;

/**
 * Between two messages that may overtake each other, on a PBX with several processes as on the Internet: what a person takes
 * to pick up, or to say a word.
 */
const PAUSE_MS = 100;

/** One message: lines and, where given, a body. Retransmitted over UDP after 500 ms as RFC 3261 §17 has it. */
export const send = (lines: string[], options: { body?: string; retransmit?: boolean } = {}) => `
  <send${options.retransmit ? ' retrans="500"' : ''}><![CDATA[
${[...lines, ...(options.body ? ['Content-Type: application/sdp'] : []), 'Content-Length: [len]'].join('\n')}

${options.body ?? ''}
]]></send>`;

export const scenario = (name: string, steps: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="${name}">${steps}\n</scenario>\n`;

const register = (sequence: number, extra: string[], seconds: number) =>
  send(
    [
      'REGISTER sip:[domain] SIP/2.0',
      VIA,
      'Max-Forwards: 70',
      'From: <sip:[field0]@[domain]>;tag=r[pid]-[call_number]',
      'To: <sip:[field0]@[domain]>',
      'Call-ID: [call_id]',
      `CSeq: ${sequence} REGISTER`,
      CONTACT,
      `Expires: ${seconds}`,
      ...extra,
    ],
    { retransmit: true },
  );

/** Takes a final answer, and the 100 before it if one comes: where an answer takes seconds a BYE may get one too (RFC 4320 §4.1). `more`: attributes. */
export const answered = (status: number, more = '') => `
  <recv response="100" optional="true"/>
  <recv response="${status}"${more}/>`;

/** The same of a challenge, which the next request answers. */
export const challenged = (status: number) => answered(status, ' auth="true"');

const registration = (seconds: number) =>
  `${register(1, [], seconds)}${challenged(401)}${register(2, ['[field1]'], seconds)}${answered(200)}`;
const REGISTRATION = registration(600);

/** REGISTER → 401 → REGISTER with Authorization → 200, for so many seconds. */
export const registrationFor = (seconds: number) => scenario('register', registration(seconds));
export const registerScenario = registrationFor(600);

/** Registers and then keeps its socket: with {@link answerScenario} beside it, a phone. */
export const phoneScenario = scenario('phone', `${REGISTRATION}\n  <pause milliseconds="3600000"/>`);

const invite = (sequence: number, extra: string[]) =>
  send(
    [
      'INVITE sip:[field2]@[domain] SIP/2.0',
      VIA,
      'Max-Forwards: 70',
      'From: <sip:[field0]@[domain]>;tag=c[pid]-[call_number]',
      'To: <sip:[field2]@[domain]>',
      'Call-ID: [call_id]',
      `CSeq: ${sequence} INVITE`,
      CONTACT,
      ...extra,
    ],
    { body: SDP, retransmit: true },
  );

const RINGING = `
  <recv response="100"/>
  <recv response="180"/>`;
const MAYBE_RINGING = `
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>`;

/** A request of the caller within its call. */
export const inDialog = (
  method: string,
  sequence: number,
  from = 'sip:[field0]@[domain]',
  to = 'sip:[field2]@[domain]',
) =>
  send(
    [
      `${method} [next_url] SIP/2.0`,
      VIA,
      '[routes]',
      'Max-Forwards: 70',
      `From: <${from}>;tag=c[pid]-[call_number]`,
      `To: <${to}>[peer_tag_param]`,
      'Call-ID: [call_id]',
      `CSeq: ${sequence} ${method}`,
    ],
    { retransmit: method !== 'ACK' },
  );

/** RFC 3261 §17.1.1.3: the ACK of a failure goes hop by hop, with the branch of its INVITE. */
const ackOfChallenge = send([
  'ACK sip:[field2]@[domain] SIP/2.0',
  // Three steps back stands the INVITE.
  VIA.replace('[branch]', '[branch-3]'),
  'Max-Forwards: 70',
  'From: <sip:[field0]@[domain]>;tag=c[pid]-[call_number]',
  'To: <sip:[field2]@[domain]>[peer_tag_param]',
  'Call-ID: [call_id]',
  'CSeq: 1 ACK',
]);

/**
 * The seed's call: INVITE, 100, 180, 200, ACK, (hold), BYE, 200. `challenged`: the PBX answers the first INVITE with 407, or with this. `busy`: the 200 may overtake
 * what came before it, as among hundreds of calls on a machine that is busy; for a SIPp that is `tolerant`.
 */
export function callScenario(options: { challenged: boolean | 401; holdMs?: number; busy?: boolean }): string {
  const challenge = `${invite(1, [])}${challenged(options.challenged === 401 ? 401 : 407)}${ackOfChallenge}${invite(2, ['[field1]'])}`;
  const sequence = options.challenged ? 2 : 1;
  return scenario(
    'call',
    `${options.challenged ? challenge : invite(1, [])}${options.busy ? MAYBE_RINGING : RINGING}
  <recv response="200" rrs="true"/>${inDialog('ACK', sequence)}
  <pause milliseconds="${options.holdMs ?? PAUSE_MS}"/>${inDialog('BYE', sequence + 1)}${answered(200)}`,
  );
}

const answer = (status: string, options: { body?: string; retransmit?: boolean } = {}, invites = true) =>
  send(
    [
      `SIP/2.0 ${status}`,
      '[last_Via:]',
      ...(invites ? ['[last_Record-Route:]'] : []),
      '[last_From:]',
      invites ? '[last_To:];tag=a[pid]-[call_number]' : '[last_To:]',
      '[last_Call-ID:]',
      '[last_CSeq:]',
      ...(invites ? [ANSWER_CONTACT] : []),
    ],
    options,
  );

/** A `busy` call that the callee ends: INVITE, 100, 180, 200, ACK, until BYE. Stays for who did not hear its 200 and sends the BYE again. */
export const hungUpOnScenario = scenario(
  'hung up on',
  `${invite(1, [])}${MAYBE_RINGING}
  <recv response="200" rrs="true"/>${inDialog('ACK', 1)}
  <recv request="BYE"/>${answer('200 OK', {}, false)}
  <timewait milliseconds="10000"/>`,
);

/** The callee: INVITE → 180, 200 → ACK → BYE → 200. */
export const answerScenario = scenario(
  'answer',
  `
  <recv request="INVITE" crlf="true"/>${answer('180 Ringing')}
  <pause milliseconds="${PAUSE_MS}"/>${answer('200 OK', { body: SDP, retransmit: true })}
  <recv request="ACK"/>
  <recv request="BYE"/>${answer('200 OK', {}, false)}
  <timewait milliseconds="200"/>`,
);

/** A PBX that fails: takes the INVITE and says nothing, or no more than 100, or refuses. */
export const failingScenario = (fault: 'silent' | 'trying' | 'refusing') =>
  scenario(
    fault,
    `
  <recv request="INVITE" crlf="true"/>${
    {
      silent: '',
      trying: answer('100 Trying'),
      refusing: `${answer('503 Service Unavailable', { retransmit: true })}\n  <recv request="ACK"/>`,
    }[fault]
  }
  <pause milliseconds="${fault === 'refusing' ? 200 : 3_600_000}"/>`,
  );

/** The seed's call on a network that loses, doubles and reorders: provisional responses and ACKs may not come, or late. */
export const lossyCallScenario = scenario(
  'lossy call',
  `${invite(1, [])}${MAYBE_RINGING}
  <recv response="200" rrs="true"/>${inDialog('ACK', 1)}
  <pause milliseconds="1000"/>${inDialog('BYE', 2)}${answered(200)}
  <timewait milliseconds="4000"/>`,
);

/** Its callee. */
export const lossyAnswerScenario = scenario(
  'lossy answer',
  `
  <recv request="INVITE" crlf="true"/>${answer('180 Ringing')}
  <pause milliseconds="${PAUSE_MS}"/>${answer('200 OK', { body: SDP, retransmit: true })}
  <recv request="ACK" optional="true"/>
  <recv request="BYE"/>${answer('200 OK', {}, false)}
  <timewait milliseconds="4000"/>`,
);

const again = (body: boolean) => `
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
${body ? `${ANSWER_CONTACT}\nContent-Type: application/sdp\nContent-Length: [len]\n\n${SDP}` : 'Content-Length: 0\n'}
]]></send>`;

/** A callee that takes any number of re-INVITEs before BYE. With SIPp's RTP echo, the answering side of a dummy call. */
export const talkScenario = scenario(
  'talk',
  `
  <recv request="INVITE" crlf="true"/>${answer('180 Ringing')}
  <pause milliseconds="${PAUSE_MS}"/>${answer('200 OK', { body: SDP, retransmit: true })}
  <recv request="ACK"/>
  <label id="1"/>
  <recv request="BYE" optional="true" next="2"/>
  <recv request="INVITE"/>${again(true)}
  <recv request="ACK" next="1"/>
  <label id="2"/>${again(false)}
  <timewait milliseconds="200"/>`,
);

/** A call that is refused with this status. */
export const refusedScenario = (status: number): string =>
  scenario('refused', `${invite(1, [])}${answered(status)}${ackOfChallenge}`);

/** A registration that is refused with this status, at once. */
export const refusedRegisterScenario = (status: number): string =>
  scenario('refused register', `${register(1, [], 600)}\n  <recv response="${status}"/>`);
