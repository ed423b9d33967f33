import { firstLine, headerOf, type KeptCall, type KeptMessage } from './kept-call.ts';

/** A lane's width, its line included. */
const LANE = 34;

/** The end of a message that is not ours. */
const peerOf = ({ remote, backend }: KeptMessage): string => (backend === undefined ? remote : `${backend} ${remote}`);

/**
 * A call as a ladder: clients on the left, the agent, backends on the right; one line per message with seconds since the first.
 *
 * @example
 *   0.000 | INVITE sip:clyde@example.com ->|                                  |
 *   0.001 |                                | INVITE sip:clyde@example.com --->|
 */
export function ladder(call: KeptCall): string {
  const clients = peers(call, (m) => m.backend === undefined);
  const backends = peers(call, (m) => m.backend !== undefined);
  const lanes = [...clients, 'agent', ...backends];
  const head = lanes.map((lane) => lane.slice(0, LANE - 2).padEnd(LANE)).join('');
  const rows = call.messages.map((m) => row(m, call.messages[0] as KeptMessage, lanes));
  const omitted = call.omitted > 0 ? [`        … ${call.omitted} more messages were not kept`] : [];
  return [...title(call), '', `          ${head}`.trimEnd(), ...rows, ...omitted, ''].join('\n');
}

function title({ callId, farm, reasons, results, startedAt, traceId }: KeptCall): string[] {
  return [
    `Call-ID ${callId || '(its messages were overwritten before they could be kept)'}`,
    `farm    ${farm}    ${new Date(startedAt).toISOString()}    trace ${traceId}`,
    `kept    ${reasons.join(', ')}    ${results.join(', ')}`,
  ];
}

function peers(call: KeptCall, which: (message: KeptMessage) => boolean): string[] {
  return [...new Set(call.messages.filter(which).map(peerOf))];
}

function row(message: KeptMessage, first: KeptMessage, lanes: readonly string[]): string {
  const seconds = ((message.at - first.at) / 1000).toFixed(3).padStart(8);
  const agent = lanes.indexOf('agent');
  const peer = lanes.indexOf(peerOf(message));
  const [left, right] = peer < agent ? [peer, agent] : [agent, peer];
  const rightwards = message.sent === (agent === left);
  const width = (right - left) * LANE - 1;
  const text = label(message).slice(0, width - 4);
  const arrow = rightwards
    ? ` ${text} ${'-'.repeat(width - text.length - 3)}>`
    : `<${'-'.repeat(width - text.length - 3)} ${text} `;
  const lane = `|${' '.repeat(LANE - 1)}`;
  return `${seconds}  ${lane.repeat(left)}|${arrow}${lane.repeat(lanes.length - 1 - right)}|`;
}

/** `INVITE sip:clyde@example.com`, `200 OK (INVITE)`. */
function label(message: KeptMessage): string {
  const line = firstLine(message);
  if (!line.startsWith('SIP/2.0 ')) return line.replace(/ SIP\/2\.0$/, '');
  const method = headerOf(message, 'cseq')?.split(/\s+/)[1];
  return `${line.slice(8)}${method ? ` (${method})` : ''}`;
}

/** The messages themselves, behind the ladder. */
export function fullText(call: KeptCall): string {
  const messages = call.messages.map((m) => {
    const [from, to] = m.sent ? [m.local, m.remote] : [m.remote, m.local];
    return `--- ${new Date(m.at).toISOString()} ${m.transport} ${from} → ${to}\n${m.bytes.toString('utf8').replaceAll('\r\n', '\n')}`;
  });
  return `${ladder(call)}\n${messages.join('\n')}`;
}
