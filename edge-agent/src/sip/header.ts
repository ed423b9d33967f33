/** The header fields that a proxy looks at, as small integers. Everything else is `other` and passes untouched. */
export const HEADER = {
  other: 0,
  via: 1,
  from: 2,
  to: 3,
  callId: 4,
  cseq: 5,
  maxForwards: 6,
  route: 7,
  recordRoute: 8,
  contact: 9,
  contentLength: 10,
  path: 11,
  supported: 12,
  proxyRequire: 13,
  expires: 14,
  contentType: 15,
  require: 16,
  authorization: 17,
  proxyAuthorization: 18,
  userAgent: 19,
  wwwAuthenticate: 20,
  proxyAuthenticate: 21,
  traceparent: 22,
  tracestate: 23,
  reason: 24,
  maxBreadth: 25,
} as const;
export type HeaderCode = (typeof HEADER)[keyof typeof HEADER];
export const HEADER_COUNT = Object.keys(HEADER).length;

const NAMES: [string, HeaderCode][] = [
  ['via', HEADER.via],
  ['v', HEADER.via],
  ['from', HEADER.from],
  ['f', HEADER.from],
  ['to', HEADER.to],
  ['t', HEADER.to],
  ['call-id', HEADER.callId],
  ['i', HEADER.callId],
  ['cseq', HEADER.cseq],
  ['max-forwards', HEADER.maxForwards],
  ['route', HEADER.route],
  ['record-route', HEADER.recordRoute],
  ['contact', HEADER.contact],
  ['m', HEADER.contact],
  ['content-length', HEADER.contentLength],
  ['l', HEADER.contentLength],
  ['path', HEADER.path],
  ['supported', HEADER.supported],
  ['k', HEADER.supported],
  ['proxy-require', HEADER.proxyRequire],
  ['expires', HEADER.expires],
  ['content-type', HEADER.contentType],
  ['c', HEADER.contentType],
  ['require', HEADER.require],
  ['authorization', HEADER.authorization],
  ['proxy-authorization', HEADER.proxyAuthorization],
  ['user-agent', HEADER.userAgent],
  ['www-authenticate', HEADER.wwwAuthenticate],
  ['proxy-authenticate', HEADER.proxyAuthenticate],
  ['traceparent', HEADER.traceparent],
  ['tracestate', HEADER.tracestate],
  ['reason', HEADER.reason],
  ['max-breadth', HEADER.maxBreadth],
];

/** Slot by (length, first letter, last letter): no two known names share one, which the loop below asserts. */
const SLOTS = 32 * 32 * 32;
const slotOf = (length: number, first: number, last: number): number =>
  (length << 10) | ((first & 31) << 5) | (last & 31);
const codeAt = new Uint8Array(SLOTS);
const nameAt: (Uint8Array | undefined)[] = new Array(SLOTS);
for (const [name, code] of NAMES) {
  const bytes = new TextEncoder().encode(name);
  const slot = slotOf(bytes.length, bytes[0]!, bytes[bytes.length - 1]!);
  if (nameAt[slot] !== undefined) throw new Error(`header names collide at ${name}`);
  codeAt[slot] = code;
  nameAt[slot] = bytes;
}

/** Code of the header field named by `bytes[start, end)`, long or compact form, any case (RFC 3261 §7.3.1, §7.3.3). */
export function headerCode(bytes: Uint8Array, start: number, end: number): HeaderCode {
  const length = end - start;
  if (length > 31) return HEADER.other;
  const slot = slotOf(length, bytes[start]!, bytes[end - 1]!);
  const code = codeAt[slot]!;
  if (code === 0) return HEADER.other;
  const name = nameAt[slot]!;
  for (let i = 0; i < length; i++) {
    const c = bytes[start + i]!;
    if ((c >= 65 && c <= 90 ? c | 32 : c) !== name[i]) return HEADER.other;
  }
  return code as HeaderCode;
}
