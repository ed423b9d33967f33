import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Address } from './peers.ts';
import { text } from './peers.ts';

/** What a proxy made of one request, checked. */
export interface Forwarded {
  /** How many bytes longer the request was when it reached the sink. */
  addedBytes: number;
  /** The request as the sink received it. */
  request: string;
}

const SDP = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0\r\n';

function inviteFrom(client: Address, number: number): string {
  return [
    'INVITE sip:clyde@example.com SIP/2.0',
    `Via: SIP/2.0/UDP ${text(client)};branch=z9hG4bK-validate-${number};rport`,
    'Max-Forwards: 70',
    'From: Bonnie <sip:bonnie@example.com>;tag=validate',
    'To: Clyde <sip:clyde@example.com>',
    `Call-ID: validate-${number}@bench.invalid`,
    'CSeq: 1 INVITE',
    `Contact: <sip:bonnie@${text(client)}>`,
    'X-Bench-Echo: yes',
    'Content-Type: application/sdp',
    `Content-Length: ${SDP.length}`,
    '',
    SDP,
  ].join('\r\n');
}

/** Values of a header field in order. The messages are the bench's own: one value per line, long names. */
const values = (message: string, name: string): string[] =>
  (message.split('\r\n\r\n')[0] as string)
    .split('\r\n')
    .filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
    .map((line) => line.slice(name.length + 1).trim());

/**
 * Sends INVITEs through `proxy` until one is answered by a sink, and checks what reached the sink and what came back.
 * Throws a list of what is wrong. `proxies`: Max-Forwards and Record-Route are asked for too.
 */
export async function validate(proxy: Address, client: Address, proxies: boolean): Promise<Forwarded> {
  const deadline = Date.now() + 15_000;
  for (let number = 1; Date.now() < deadline; number++) {
    const sent = inviteFrom(client, number);
    const reply = await ask(proxy, client, sent);
    if (reply === undefined) continue;
    const request = reply.slice(reply.indexOf('\r\n\r\n') + 4);
    const wrong = [...faultsOfReply(reply, sent), ...faultsOfRequest(request, sent, proxy, proxies)];
    if (wrong.length > 0) throw new Error(`${wrong.join('; ')}\nsent:\n${sent}\nreply:\n${reply}`);
    return { addedBytes: request.length - sent.length, request };
  }
  throw new Error(`no INVITE sent to ${text(proxy)} was answered within 15 s`);
}

/** One request; its final response, or undefined after 500 ms. */
async function ask(to: Address, from: Address, request: string): Promise<string | undefined> {
  const socket = createSocket('udp4');
  socket.bind(from.port, from.address);
  await once(socket, 'listening');
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const timer = setTimeout(resolve, 500, undefined);
  const [callId] = values(request, 'Call-ID') as [string];
  socket.on('message', (bytes) => {
    const reply = bytes.toString();
    if (!reply.startsWith('SIP/2.0 1') && reply.includes(callId)) resolve(reply);
  });
  socket.send(request, to.port, to.address);
  const reply = await promise;
  clearTimeout(timer);
  socket.close();
  await once(socket, 'close');
  return reply;
}

function faultsOfReply(reply: string, sent: string): string[] {
  const wrong: string[] = [];
  const vias = values(reply, 'Via');
  const branch = /branch=[^;]+/.exec(sent)?.[0] as string;
  if (!reply.startsWith('SIP/2.0 200 ')) wrong.push(`the reply is ${reply.split('\r\n')[0]}, not a 200`);
  if (vias.length !== 1 || !vias[0]?.includes(branch))
    wrong.push(`the reply has the Vias ${JSON.stringify(vias)}, not only the client's`);
  if (!values(reply, 'To')[0]?.includes(';tag=')) wrong.push('the reply has no To tag');
  if (values(reply, 'CSeq')[0] !== values(sent, 'CSeq')[0]) wrong.push("the reply's CSeq is not the request's");
  return wrong;
}

function faultsOfRequest(request: string, sent: string, proxy: Address, proxies: boolean): string[] {
  const wrong: string[] = [];
  const vias = values(request, 'Via');
  const branch = /branch=[^;]+/.exec(sent)?.[0] as string;
  if (vias.length !== 2 || !vias[0]?.includes(text(proxy)) || !vias[1]?.includes(branch))
    wrong.push(`the sink saw the Vias ${JSON.stringify(vias)}, not the proxy's on top of the client's`);
  if (request.split('\r\n')[0] !== sent.split('\r\n')[0]) wrong.push('the sink saw another request line');
  if (request.split('\r\n\r\n')[1] !== SDP) wrong.push('the sink saw another SDP');
  if (!proxies) return wrong;
  if (values(request, 'Max-Forwards')[0] !== '69') wrong.push('Max-Forwards is not lowered to 69');
  if (!values(request, 'Record-Route')[0]?.includes(text(proxy)))
    wrong.push(`the sink saw no Record-Route with ${text(proxy)}`);
  return wrong;
}
