const MIRROR: Record<string, string> = { sendonly: 'recvonly', recvonly: 'sendonly', inactive: 'inactive' };

const origin = (host: string, version: number) => {
  const family = host.includes(':') ? 'IP6' : 'IP4';
  return `v=0\r\no=demo ${version} ${version} IN ${family} ${host}\r\ns=demo\r\nc=IN ${family} ${host}\r\nt=0 0\r\n`;
};

/** PCMU, the codec that every phone speaks. */
export function offerAudio(host: string, port: number, version: number): string {
  return `${origin(host, version)}m=audio ${port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n`;
}

/**
 * The answer (RFC 3264 §6) of somebody who sends back what he gets: every audio format is as good as the next, so the
 * first audio stream is taken with all of its formats, other streams are refused. Undefined without such a stream.
 */
export function answerEcho(offer: string, host: string, port: number, version: number): string | undefined {
  const sections = offer.split(/\r?\n(?=m=)/);
  const session = sections.shift() ?? '';
  let taken = false;
  let media = '';
  for (const section of sections) {
    const lines = section.split(/\r?\n/);
    const [, kind, theirs, profile, formats] = /^m=(\S+) (\d+)\S* (\S+) (.*)$/.exec(lines[0] ?? '') ?? [];
    if (kind === undefined) return undefined;
    if (taken || kind !== 'audio' || profile !== 'RTP/AVP' || theirs === '0') {
      media += `m=${kind} 0 ${profile} ${formats}\r\n`;
      continue;
    }
    taken = true;
    const kept = lines.filter((l) => /^a=(rtpmap|fmtp|ptime):/.test(l));
    const direction =
      /^a=(sendonly|recvonly|inactive)\s*$/m.exec(section) ?? /^a=(sendonly|recvonly|inactive)\s*$/m.exec(session);
    media += [
      `m=audio ${port} RTP/AVP ${formats}`,
      ...kept,
      `a=${MIRROR[direction?.[1] ?? ''] ?? 'sendrecv'}`,
      '',
    ].join('\r\n');
  }
  return taken ? origin(host, version) + media : undefined;
}

/** Where the other side wants its audio; undefined where it wants none. */
export function audioTarget(sdp: string): { host: string; port: number } | undefined {
  const host =
    /^c=IN IP[46] (\S+)/m.exec(sdp.slice(sdp.indexOf('m=audio')))?.[1] ?? /^c=IN IP[46] (\S+)/m.exec(sdp)?.[1];
  const port = Number(/^m=audio (\d+)/m.exec(sdp)?.[1] ?? 0);
  return host && port > 0 ? { host, port } : undefined;
}
