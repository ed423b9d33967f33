import { createHash } from 'node:crypto';
import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { isIP } from 'node:net';
import {
  hostText,
  type Peer,
  parameter,
  responseTarget,
  SipMessage,
  splitList,
  uriOf,
} from '../../edge-agent/src/sip/text-message.ts';
import { Echo } from './echo.ts';
import { type Algorithm, Registrar } from './registrar.ts';
import { isEcho, passwordOf } from './users.ts';

export interface PbxOptions {
  host: string;
  /** 0: any. */
  port: number;
  /** Where phones send their media; the address of `host` if left out. */
  mediaHost?: string;
  /** Calls come about and nothing is heard: a PBX whose media path is broken. */
  mute?: boolean;
  /** Digest algorithms offered, in this order; SHA-256 and MD5 if left out. */
  algorithms?: readonly Algorithm[];
}

export interface Pbx {
  readonly host: string;
  readonly port: number;
  readonly calls: number;
  close(): Promise<void>;
}

/**
 * Starts one demo PBX on UDP: registrar, the extension `echo`, and for calls between users a stateless,
 * record-routing proxy (RFC 3261 §16.11), which leaves retransmission to the phones. Rejects where the port is taken.
 */
export async function startPbx(options: PbxOptions): Promise<Pbx> {
  const { host } = options;
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.bind(options.port, host);
  await once(socket, 'listening');
  const { port } = socket.address();
  const sentBy = `${hostText(host)}:${port}`;
  const registrar = new Registrar({ passwordOf, ...(options.algorithms && { algorithms: options.algorithms }) });
  // An address that answers with ICMP must not end the process; the sender's timers do the rest.
  socket.on('error', () => {});
  const send = (message: SipMessage, to: Peer) => {
    if (isIP(to.host) !== 0) socket.send(message.toBytes(), to.port, to.host);
  };
  const echo = new Echo({
    contact: `sip:echo@${sentBy}`,
    mediaHost: options.mediaHost ?? host,
    mute: options.mute ?? false,
    send: (request, to) => {
      request.prepend('Via', `SIP/2.0/UDP ${sentBy};branch=${branchOf(request)};rport`);
      send(request, to);
    },
  });
  const context: Context = { host, port, sentBy, registrar, echo, send };
  socket.on('message', (bytes, from) => {
    const message = SipMessage.parse(bytes);
    if (!message) return;
    if (message.isRequest) handleRequest(context, message, from);
    else handleResponse(context, message);
  });
  let closed: Promise<void> | undefined;
  return {
    host,
    port,
    get calls() {
      return echo.calls;
    },
    close() {
      closed ??= (async () => {
        echo.close();
        socket.close();
        await once(socket, 'close');
      })();
      return closed;
    },
  };
}

interface Context {
  host: string;
  port: number;
  /** Our sent-by. */
  sentBy: string;
  registrar: Registrar;
  echo: Echo;
  send(message: SipMessage, to: Peer): void;
}

function handleRequest(context: Context, request: SipMessage, from: RemoteInfo): void {
  markSource(request, from);
  const reply = (response: SipMessage) => {
    const to = responseTarget(response.list('via')[0] ?? '');
    if (to) context.send(response, to);
  };
  takeOwnRoute(context, request);
  const routed = request.list('route').length > 0;
  const target = uriOf(request.uri);
  if (request.get('max-forwards') === '0') return answer(request, reply, 483, 'Too Many Hops');
  if (!routed && request.method === 'REGISTER') return reply(context.registrar.register(request));
  if (!target) return answer(request, reply, 416, 'Unsupported URI Scheme');
  if (!routed && isEcho(target.user)) return void context.echo.handle(request, reply);
  if (!routed && target.user === '' && request.method === 'OPTIONS') return answer(request, reply, 200, 'OK');
  if (routed || (request.tag('to') !== undefined && !context.registrar.knows(target.user)))
    return forward(context, request, reply);
  const [binding] = context.registrar.bindings(target.user);
  if (!binding)
    return context.registrar.knows(target.user)
      ? answer(request, reply, 480, 'Not Registered')
      : answer(request, reply, 404, 'Not Found');
  request.start = `${request.method} ${binding.uri} SIP/2.0`;
  request.set('Route', binding.path);
  if (request.tag('to') === undefined) request.prepend('Record-Route', `<sip:${context.sentBy};lr>`);
  forward(context, request, reply);
}

/** ACK gets no response (RFC 3261 §17.1.1.3). */
function answer(request: SipMessage, reply: (r: SipMessage) => void, status: number, reason: string): void {
  if (request.method !== 'ACK')
    reply(request.reply(status, reason, createHash('md5').update(keyOf(request)).digest('hex').slice(0, 10)));
}

/** RFC 3261 §18.2.1, RFC 3581 §4: the top Via learns where the request came from. */
function markSource(request: SipMessage, from: RemoteInfo): void {
  const vias = request.list('via');
  const bare = (vias[0] ?? '').replace(/;\s*(rport|received)(=[^;]*)?(?=;|$)/gi, '');
  vias[0] = `${bare};received=${from.address};rport=${from.port}`;
  request.set('Via', vias);
}

/** Takes our own URI off the top of Route (RFC 3261 §16.4). */
function takeOwnRoute(context: Context, request: SipMessage): void {
  const routes = request.list('route');
  const top = uriOf(routes[0] ?? '');
  if (top?.host === context.host && top.port === context.port) request.set('Route', routes.slice(1));
}

function forward(context: Context, request: SipMessage, reply: (r: SipMessage) => void): void {
  const next = uriOf(request.list('route')[0] ?? request.uri);
  if (!next || isIP(next.host) === 0) return answer(request, reply, 478, 'Unresolvable Destination');
  if (next.host === context.host && next.port === context.port) return answer(request, reply, 482, 'Loop Detected');
  request.set('Max-Forwards', [String(Number(request.get('max-forwards') ?? 70) - 1)]);
  request.prepend('Via', `SIP/2.0/UDP ${context.sentBy};branch=${branchOf(request)};rport`);
  context.send(request, next);
}

/** The same for a request, its retransmission, its CANCEL and its ACK (RFC 3261 §16.11 step 2). */
function branchOf(request: SipMessage): string {
  return `z9hG4bK${createHash('sha256').update(keyOf(request)).digest('hex').slice(0, 24)}`;
}

const keyOf = (request: SipMessage): string =>
  [parameter(request.list('via')[0] ?? '', 'branch'), request.get('call-id'), request.cseq].join(' ');

/** Takes our Via off and sends the response on to the next (RFC 3261 §16.11); without a next it answers a request of our own. */
function handleResponse(context: Context, response: SipMessage): void {
  const [own = '', ...rest] = response.all('via').flatMap(splitList);
  const to = rest[0] === undefined ? undefined : responseTarget(rest[0]);
  if (!own.includes(context.sentBy) || !to) return;
  response.set('Via', rest);
  context.send(response, to);
}
