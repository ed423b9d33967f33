import { firstLine, headerOf, type KeptMessage } from '../recorder/kept-call.ts';

/** What a span needs to know of a kept message. */
export interface SipParts {
  message: KeptMessage;
  /** Of a response that of its CSeq. */
  method: string;
  /** Of a response; 0: it is a request. */
  status: number;
  reason: string;
  cseq: number;
  /** Branches of all Vias, the top one first; its sent-by stands before it where it is needed to tell two apart. */
  branches: string[];
  sentBy: string;
  inDialog: boolean;
}

/** Undefined for what is no SIP message that anything could be said of. */
export function partsOf(message: KeptMessage): SipParts | undefined {
  const line = firstLine(message);
  const [, status, reason = ''] = /^SIP\/2\.0 (\d{3}) ?(.*)$/.exec(line) ?? [];
  const [, number, cseqMethod] = /^(\d{1,10})\s+(\S+)/.exec(headerOf(message, 'cseq') ?? '') ?? [];
  const method = status === undefined ? /^([A-Z]+) /.exec(line)?.[1] : cseqMethod;
  const vias = viasOf(message);
  if (method === undefined || number === undefined || vias.length === 0) return undefined;
  return {
    message,
    method,
    status: Number(status ?? 0),
    reason,
    cseq: Number(number),
    branches: vias.map((via) => /;\s*branch\s*=\s*([^;,\s]+)/i.exec(via)?.[1] ?? ''),
    sentBy: /^SIP\s*\/\s*2\.0\s*\/\s*\S+\s+([^;\s]+)/i.exec(vias[0]!)?.[1] ?? '',
    inDialog: /;\s*tag\s*=/i.test((headerOf(message, 'to', 't') ?? '').replace(/<[^>]*>/, '')),
  };
}

/** Values of all Via headers in order (RFC 3261 §7.3.1: also several in one line, and folded lines). */
function viasOf({ bytes }: KeptMessage): string[] {
  const end = bytes.indexOf('\r\n\r\n');
  const head = bytes
    .subarray(0, end < 0 ? bytes.length : end)
    .toString('latin1')
    .replace(/\r\n[ \t]+/g, ' ');
  const lines = [...head.matchAll(/^(?:via|v)[ \t]*:[ \t]*([^\r\n]*)/gim)].map(([, value]) => value as string);
  return lines.flatMap((line) => line.split(',').map((via) => via.trim()));
}
