import { HEADER, HEADER_COUNT, headerCode } from './header.ts';
import { METHOD, methodCode } from './method.ts';
import { isBlank, skipAddress, skipQuoted } from './skip.ts';
import { readDecimal } from './text.ts';

/** Why bytes are no SIP message. 0 is none. The texts are for logs and for the reason phrase of a 400. */
export const PARSE_ERRORS = [
  '',
  'Not SIP',
  'Bad Start Line',
  'Bad Header Line',
  'Too Many Headers',
  'Missing End Of Headers',
  'Bad Content-Length',
  'Missing Mandatory Header',
  'Duplicate Mandatory Header',
  'Bad CSeq',
  'Bad From Or To',
  'Bad Max-Forwards',
  'Bad Request Line',
  'Version Not Supported',
] as const;
export const PARSE = {
  ok: 0,
  notSip: 1,
  startLine: 2,
  headerLine: 3,
  tooManyHeaders: 4,
  noEnd: 5,
  contentLength: 6,
  missing: 7,
  duplicate: 8,
  cseq: 9,
  fromTo: 10,
  maxForwards: 11,
  /** SIP by its version, but not as RFC 3261 §7.1 has it: odd blanks, or a Request-URI with headers. The header lines are read all the same. */
  requestLine: 12,
  /** Another SIP version (RFC 3261 §21.5.6). The header lines are read all the same. */
  version: 13,
} as const;

/** Header lines beyond this make a message malformed: nobody sends them honestly, and edits have a fixed number of pieces. */
export const MAX_HEADERS = 256;

const CR = 13;
const LF = 10;
const SP = 32;
const HT = 9;
const COLON = 58;

/** 1 for the characters of a token (RFC 3261 §25.1), of which method and header names are made. */
const TOKEN = new Uint8Array(256);
for (const c of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~") TOKEN[c.charCodeAt(0)] = 1;

/** Headers that may stand once only: two of them is how requests are smuggled past one reader and to another. */
const SINGLE = [HEADER.from, HEADER.to, HEADER.callId, HEADER.cseq, HEADER.maxForwards, HEADER.contentLength] as const;

/**
 * A SIP message as offsets into the bytes it came in: nothing is copied, no string is made.
 * One instance is reused for every message; all offsets are absolute positions in {@link bytes}.
 */
export class MessageView {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  /** End of the body as Content-Length gives it; bytes behind it (UDP only) do not belong to the message. */
  end = 0;
  isRequest = false;
  /** Read to its end: what is not there, such as a To tag, is not in the message. */
  complete = false;
  /** Index into METHODS; for a response that of its CSeq. */
  method = 0;
  methodStart = 0;
  methodEnd = 0;
  /** Request-URI. */
  uriStart = 0;
  uriEnd = 0;
  /** Status code of a response, 100–699. */
  status = 0;
  /** First header line. */
  headersStart = 0;
  /** The empty line's CRLF. */
  headersEnd = 0;
  bodyStart = 0;
  cseq = 0;
  /** -1 where the header is absent. */
  maxForwards = -1;
  headerCount = 0;
  /** Per line: code, start of the line, start and end of the value (white space trimmed), start of the next line. */
  readonly code = new Uint8Array(MAX_HEADERS);
  readonly lineStart = new Int32Array(MAX_HEADERS);
  readonly valueStart = new Int32Array(MAX_HEADERS);
  readonly valueEnd = new Int32Array(MAX_HEADERS);
  readonly lineEnd = new Int32Array(MAX_HEADERS);
  /** Line of the first header of each code, -1 where there is none; and how many there are. */
  readonly first = new Int16Array(HEADER_COUNT);
  readonly times = new Uint8Array(HEADER_COUNT);
  /** Value of the From and To tags; empty (start = end = 0) where there is none. */
  fromTagStart = 0;
  fromTagEnd = 0;
  toTagStart = 0;
  toTagEnd = 0;
  /** How far {@link #isQuotedPair} has read the header line at hand, and whether that is within quotes. */
  #quoteScan = 0;
  #quoted = false;

  /** Reads `bytes[start, end)`. Returns a PARSE code; after anything but `ok` only what stands before the error is valid. */
  parse(bytes: Uint8Array, start: number, end: number): number {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.complete = false;
    this.headerCount = 0;
    this.maxForwards = -1;
    this.fromTagStart = this.fromTagEnd = this.toTagStart = this.toTagEnd = 0;
    this.first.fill(-1);
    this.times.fill(0);
    this.#quoteScan = start;
    const line = this.#startLine(bytes, start, end);
    // Whoever wrote a bad request line is told so, for which the header lines are needed.
    if (line !== PARSE.ok && line < PARSE.requestLine) return line;
    const error = this.#headers(bytes, end);
    if (error !== PARSE.ok) return error;
    const content = this.#length(bytes, end) || this.#mandatory(bytes);
    this.complete = (line || content) === PARSE.ok;
    return line || content;
  }

  #startLine(bytes: Uint8Array, start: number, end: number): number {
    let i = start;
    while (i < end && TOKEN[bytes[i]!] === 1) i++;
    // `SIP/2.0 ` is no token for its slash.
    if (i - start === 3 && bytes[i] === 47) return this.#statusLine(bytes, start, end);
    if (i === start || i >= end || bytes[i] !== SP) return PARSE.notSip;
    this.isRequest = true;
    this.methodStart = start;
    this.methodEnd = i;
    this.method = methodCode(bytes, start, i);
    this.uriStart = ++i;
    while (i < end && bytes[i]! > SP) i++;
    this.uriEnd = i;
    if (i === this.uriStart || i + 10 > end || bytes[i] !== SP || !isVersion(bytes, i + 1)) return this.#badLine(end);
    if (bytes[i + 8] !== CR || bytes[i + 9] !== LF) return this.#badLine(end);
    this.headersStart = i + 10;
    return hasHeaders(bytes, this.uriStart, i) ? PARSE.requestLine : PARSE.ok;
  }

  /** What a line is that is no Request-Line: still SIP if it ends with some SIP version. */
  #badLine(end: number): number {
    const { bytes } = this;
    let i = this.uriStart;
    while (i < end && bytes[i] !== LF) i++;
    if (i >= end || bytes[i - 1] !== CR) return PARSE.startLine;
    this.headersStart = i + 1;
    let last = i - 1;
    while (last > this.uriStart && isBlank(bytes[last - 1]!)) last--;
    let version = last;
    while (version > this.uriStart && bytes[version - 1]! > SP) version--;
    if (last - version === 7 && isVersion(bytes, version)) return PARSE.requestLine;
    return isName(bytes, version) && last - version > 4 ? PARSE.version : PARSE.startLine;
  }

  #statusLine(bytes: Uint8Array, start: number, end: number): number {
    // SIP/2.0 SP 3DIGIT SP Reason-Phrase CRLF
    if (start + 14 > end || !isVersion(bytes, start) || bytes[start + 7] !== SP) return PARSE.notSip;
    this.isRequest = false;
    const status = readDecimal(bytes, start + 8, start + 11);
    if (status < 100 || status > 699 || (bytes[start + 11] !== SP && bytes[start + 11] !== CR)) return PARSE.startLine;
    this.status = status;
    let i = start + 11;
    while (i < end && bytes[i] !== CR && bytes[i] !== LF && bytes[i] !== 0) i++;
    if (i + 1 >= end || bytes[i] !== CR || bytes[i + 1] !== LF) return PARSE.startLine;
    this.headersStart = i + 2;
    return PARSE.ok;
  }

  #headers(bytes: Uint8Array, end: number): number {
    let i = this.headersStart;
    let n = 0;
    for (;;) {
      if (i + 1 >= end) return PARSE.noEnd;
      if (bytes[i] === CR) {
        if (bytes[i + 1] !== LF) return PARSE.headerLine;
        this.headersEnd = i;
        this.bodyStart = i + 2;
        this.headerCount = n;
        return PARSE.ok;
      }
      if (n === MAX_HEADERS) return PARSE.tooManyHeaders;
      const lineStart = i;
      while (i < end && TOKEN[bytes[i]!] === 1) i++;
      const nameEnd = i;
      // RFC 3261 §7.3.1: white space may stand before the colon, and must not hide a header (CVE-2020-28361).
      while (i < end && (bytes[i] === SP || bytes[i] === HT)) i++;
      if (nameEnd === lineStart || i >= end || bytes[i] !== COLON) return PARSE.headerLine;
      i++;
      while (i < end && (bytes[i] === SP || bytes[i] === HT)) i++;
      let valueStart = i;
      for (;;) {
        while (i < end && bytes[i]! > CR) i++;
        if (i >= end) return PARSE.noEnd;
        const c = bytes[i]!;
        if (c === CR) {
          if (i + 1 >= end) return PARSE.noEnd;
          if (bytes[i + 1] !== LF) return PARSE.headerLine;
          if (i + 2 >= end) return PARSE.noEnd;
          // A line that starts with white space goes on with the one before (folding).
          if (bytes[i + 2] === SP || bytes[i + 2] === HT) {
            i += 3;
            continue;
          }
          break;
        }
        // A bare LF or a NUL is read differently by different stacks: refused. Other control characters pass as they are.
        if (c === LF || (c === 0 && !this.#isQuotedPair(bytes, valueStart, i))) return PARSE.headerLine;
        i++;
      }
      let valueEnd = i;
      while (valueEnd > valueStart && isBlank(bytes[valueEnd - 1]!)) valueEnd--;
      while (valueStart < valueEnd && isBlank(bytes[valueStart]!)) valueStart++;
      i += 2;
      const code = headerCode(bytes, lineStart, nameEnd);
      this.code[n] = code;
      this.lineStart[n] = lineStart;
      this.valueStart[n] = valueStart;
      this.valueEnd[n] = valueEnd;
      this.lineEnd[n] = i;
      if (code !== HEADER.other) {
        if (this.first[code] === -1) this.first[code] = n;
        this.times[code] = this.times[code]! + 1;
      }
      n++;
      this.headerCount = n;
    }
  }

  /** Within quotes and behind a backslash a NUL is a character like others (RFC 3261 §25.1 quoted-pair). Goes on where it stopped, so a line is read once. */
  #isQuotedPair(bytes: Uint8Array, valueStart: number, at: number): boolean {
    if (this.#quoteScan < valueStart) {
      this.#quoteScan = valueStart;
      this.#quoted = false;
    }
    let i = this.#quoteScan;
    for (; i < at; i++) {
      if (bytes[i] === 34) this.#quoted = !this.#quoted;
      else if (bytes[i] === 92 && this.#quoted) i++;
    }
    this.#quoteScan = at + 1;
    // Only an escape steps over the position that was asked for.
    return i > at;
  }

  #length(bytes: Uint8Array, end: number): number {
    const at = this.first[HEADER.contentLength]!;
    if (at < 0) return PARSE.ok; // UDP: the body ends with the datagram (RFC 3261 §18.3).
    const length = readDecimal(bytes, this.valueStart[at]!, this.valueEnd[at]!);
    if (length < 0 || length > end - this.bodyStart) return PARSE.contentLength;
    this.end = this.bodyStart + length;
    return PARSE.ok;
  }

  #mandatory(bytes: Uint8Array): number {
    const { first, times } = this;
    if (first[HEADER.via] === -1 || first[HEADER.from] === -1 || first[HEADER.to] === -1) return PARSE.missing;
    if (first[HEADER.callId] === -1 || first[HEADER.cseq] === -1) return PARSE.missing;
    for (let i = 0; i < SINGLE.length; i++) if (times[SINGLE[i]!]! > 1) return PARSE.duplicate;
    const callId = first[HEADER.callId]!;
    if (this.valueStart[callId] === this.valueEnd[callId]) return PARSE.missing;
    if (!this.#cseq(bytes)) return PARSE.cseq;
    if (!this.#tag(bytes, first[HEADER.from]!, true) || !this.#tag(bytes, first[HEADER.to]!, false))
      return PARSE.fromTo;
    const mf = first[HEADER.maxForwards]!;
    if (mf >= 0) {
      const value = readDecimal(bytes, this.valueStart[mf]!, this.valueEnd[mf]!);
      if (value < 0 || value > 255) return PARSE.maxForwards;
      this.maxForwards = value;
    }
    return PARSE.ok;
  }

  #cseq(bytes: Uint8Array): boolean {
    const line = this.first[HEADER.cseq]!;
    const end = this.valueEnd[line]!;
    let i = this.valueStart[line]!;
    const numberStart = i;
    while (i < end && bytes[i]! >= 48 && bytes[i]! <= 57) i++;
    this.cseq = readDecimal(bytes, numberStart, i);
    // RFC 3261 §8.1.1.5: less than 2**31.
    if (this.cseq < 0 || this.cseq >= 0x80000000) return false;
    const gap = i;
    while (i < end && isBlank(bytes[i]!)) i++;
    if (i === gap || i === end) return false;
    const nameStart = i;
    while (i < end && TOKEN[bytes[i]!] === 1) i++;
    if (i !== end) return false;
    if (!this.isRequest) {
      this.method = methodCode(bytes, nameStart, i);
      this.methodStart = nameStart;
      this.methodEnd = i;
      return true;
    }
    if (i - nameStart !== this.methodEnd - this.methodStart) return false;
    for (let k = 0; k < i - nameStart; k++) if (bytes[nameStart + k] !== bytes[this.methodStart + k]) return false;
    return true;
  }

  /** Finds the tag of a From or To value. False where quotes or brackets do not close. */
  #tag(bytes: Uint8Array, line: number, from: boolean): boolean {
    const end = this.valueEnd[line]!;
    let i = skipAddress(bytes, this.valueStart[line]!, end);
    // A comma outside of quotes: From and To are no lists, so it stands in a display name that had to be quoted (RFC 4475 §3.1.2.15).
    if (i < 0 || (i < end && bytes[i] === 44)) return false;
    while (i < end) {
      const c = bytes[i]!;
      if (c === 34) {
        i = skipQuoted(bytes, i, end);
        if (i < 0) return false;
        continue;
      }
      i++;
      if (c !== 59) continue;
      while (i < end && isBlank(bytes[i]!)) i++;
      if (i + 3 > end || (bytes[i]! | 32) !== 116 || (bytes[i + 1]! | 32) !== 97 || (bytes[i + 2]! | 32) !== 103)
        continue;
      i += 3;
      while (i < end && isBlank(bytes[i]!)) i++;
      if (bytes[i] !== 61 || i >= end) continue;
      i++;
      while (i < end && isBlank(bytes[i]!)) i++;
      const start = i;
      while (i < end && TOKEN[bytes[i]!] === 1) i++;
      if (i === start) return false;
      if (from) {
        this.fromTagStart = start;
        this.fromTagEnd = i;
      } else {
        this.toTagStart = start;
        this.toTagEnd = i;
      }
      return true;
    }
    return true;
  }

  get hasToTag(): boolean {
    return this.toTagEnd > this.toTagStart;
  }
  /** ACK and CANCEL belong to the INVITE that they are about (RFC 3261 §17.2.3): CANCEL to its method's, which is INVITE alone in practice. */
  get transactionMethod(): number {
    return this.method === METHOD.ACK || this.method === METHOD.CANCEL ? METHOD.INVITE : this.method;
  }
}

/** `SIP/`; the name is case-insensitive by its grammar. */
const isName = (bytes: Uint8Array, i: number): boolean =>
  (bytes[i]! | 32) === 115 && (bytes[i + 1]! | 32) === 105 && (bytes[i + 2]! | 32) === 112 && bytes[i + 3] === 47;

/** `SIP/2.0` */
const isVersion = (bytes: Uint8Array, i: number): boolean =>
  isName(bytes, i) && bytes[i + 4] === 50 && bytes[i + 5] === 46 && bytes[i + 6] === 48;

/** A SIP URI carries headers, which no Request-URI may (RFC 3261 §19.1.1): a question mark behind the user part, which may hold one itself. */
function hasHeaders(bytes: Uint8Array, start: number, end: number): boolean {
  let at = end;
  for (let i = end - 1; i >= start && bytes[i] !== 64; i--) if (bytes[i] === 63) at = i;
  if (at === end || (bytes[start]! | 32) !== 115 || (bytes[start + 1]! | 32) !== 105) return false;
  const colon = start + ((bytes[start + 3]! | 32) === 115 ? 4 : 3);
  return (bytes[start + 2]! | 32) === 112 && bytes[colon] === 58;
}
