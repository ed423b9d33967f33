/** The texts of the warm-up's phones and PBXs. Strings: nothing here is measured, and nothing hostile comes in. */

export interface Party {
  readonly address: string;
  readonly port: number;
}

const SDP = [
  'v=0',
  'o=- 1 1 IN IP4 192.0.2.1',
  's=-',
  'c=IN IP4 192.0.2.1',
  't=0 0',
  'm=audio 40000 RTP/AVP 8 0 101',
  'a=rtpmap:8 PCMA/8000',
  'a=rtpmap:0 PCMU/8000',
  'a=rtpmap:101 telephone-event/8000',
  'a=sendrecv',
  '',
].join('\r\n');

export const CREDENTIALS =
  'Authorization: Digest username="phone", realm="pbx", nonce="0123456789", uri="sip:pbx", response="0"\r\n';
export const CHALLENGE = 'WWW-Authenticate: Digest realm="pbx", nonce="0123456789"\r\n';

/** Of the call with this number. `more`: whole header lines. `turn`: tells the requests of a call apart that are transactions of their own. */
export function request(
  method: string,
  { callId, number, phone, agent }: { callId: string; number: number; phone: Party; agent: string },
  { more = '', toTag = '', turn = '' } = {},
): string {
  const body = method === 'INVITE' ? SDP : '';
  const user = 1000 + (number % 500);
  return `${method} sip:${user}@${agent} SIP/2.0\r
Via: SIP/2.0/UDP ${phone.address}:${phone.port};branch=z9hG4bK-${number}${turn};rport\r
Max-Forwards: 70\r
${more}From: "Phone ${number % 100}" <sip:phone${number % 100}@example.invalid>;tag=f${number}\r
To: <sip:${user}@${agent}>${toTag}\r
Call-ID: ${callId}\r
CSeq: ${method === 'BYE' ? 2 : 1} ${method}\r
Contact: <sip:phone@${phone.address}:${phone.port}>\r
User-Agent: warm-up\r
${body === '' ? '' : 'Content-Type: application/sdp\r\n'}Content-Length: ${body.length}\r
\r
${body}`;
}

/** What a PBX answers. */
export function response(request: string, status: string, more = ''): string {
  const kept = linesOf(request)
    .filter((line) => /^(Via|Record-Route|From|To|Call-ID|CSeq|Path):/.test(line))
    .map((line) => (line.startsWith('To:') && !line.includes(';tag=') ? `${line};tag=t1` : line));
  return `SIP/2.0 ${status}\r\n${kept.join('\r\n')}\r\n${more}Content-Length: 0\r\n\r\n`;
}

/** The first value of a header; empty where there is none. */
export function header(text: string, name: string): string {
  const at = text.indexOf(`\r\n${name}: `);
  return at < 0 ? '' : text.slice(at + name.length + 4, text.indexOf('\r\n', at + 2));
}

/** The route set that a response gives its caller (RFC 3261 §12.1.2), as header lines. */
export const routeOf = (text: string): string =>
  linesOf(text)
    .filter((line) => line.startsWith('Record-Route: '))
    .reverse()
    .map((line) => `Route: ${line.slice('Record-Route: '.length)}\r\n`)
    .join('');

const linesOf = (text: string): string[] => text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n').slice(1);
