import { answered, CONTACT, challenged, SDP, scenario, send, VIA } from './scenarios.ts';

/** SIPp as a phone that is challenged and tries again, as RFC 3261 §22 has it or as some do. CSV fields as in scenarios.ts. */

interface Request {
  method: 'REGISTER' | 'INVITE' | 'ACK';
  cseq: number;
  callId: string;
  callee: string;
  more?: string[];
  /** Of its Via; left out: a new one. */
  branch?: string;
}

const request = ({ method, cseq, callId, callee, more = [], branch = '[branch]' }: Request): string =>
  send(
    [
      `${method} sip:${method === 'REGISTER' ? '' : `${callee}@`}[domain] SIP/2.0`,
      VIA.replace('[branch]', branch),
      'Max-Forwards: 70',
      'From: <sip:[field0]@[domain]>;tag=r[pid]-[call_number]',
      `To: <sip:${callee}@[domain]>${method === 'ACK' ? '[peer_tag_param]' : ''}`,
      `Call-ID: ${callId}`,
      `CSeq: ${cseq} ${method}`,
      ...(method === 'ACK' ? [] : [CONTACT]),
      ...more,
    ],
    { retransmit: method !== 'ACK', ...(method === 'INVITE' && { body: SDP }) },
  );

/** Call-IDs of the first try and of the second. SIPp takes what stands before `///` for no part of it. */
const CALL_IDS = { same: ['[call_id]', '[call_id]'], other: ['[call_id]', 'again///[call_id]'] } as const;

/** REGISTER → 401 → REGISTER with credentials → 200. A break of `pauseMs` before the second. */
export const registerTwiceScenario = (callIds: keyof typeof CALL_IDS, pauseMs = 0): string => {
  const [first, second] = CALL_IDS[callIds];
  const common = { method: 'REGISTER', callee: '[field0]' } as const;
  return scenario(
    'register twice',
    `${request({ ...common, cseq: 1, callId: first })}${challenged(401)}
  <pause milliseconds="${pauseMs}"/>${request({ ...common, cseq: 2, callId: second, more: ['[field1]'] })}${answered(200)}`,
  );
};

/** INVITE → 407 → ACK → INVITE with credentials → 404 → ACK, after so many challenges. */
export const challengedCallScenario = (callIds: keyof typeof CALL_IDS, challenges = 1): string => {
  const callee = '[field2]';
  const tries = Array.from({ length: challenges + 1 }, (_, i) => {
    const common = { cseq: i + 1, callee, callId: CALL_IDS[callIds][i === 0 ? 0 : 1] };
    const invite = request({ ...common, method: 'INVITE', more: i === 0 ? [] : ['[field1]'] });
    // Three steps back stands the INVITE.
    const ack = request({ ...common, method: 'ACK', branch: '[branch-3]' });
    return `${invite}${i < challenges ? challenged(407) : answered(404)}${ack}`;
  });
  return scenario('challenged call', tries.join(''));
};
