import { isBlank, skipQuoted } from './skip.ts';
import { equalsNoCase, readDecimal, toBytes } from './text.ts';

/** One Via value (RFC 3261 §20.42) as offsets. Reused. */
export class ViaView {
  start = 0;
  /** End of this value: its comma, or the end of the header value. */
  end = 0;
  /** `UDP`, `TCP`, …. */
  transportStart = 0;
  transportEnd = 0;
  /** sent-by host without brackets, and its port (0 where none). */
  hostStart = 0;
  hostEnd = 0;
  port = 0;
  /** Behind host and port, where the parameters start. */
  paramsStart = 0;
  branchStart = 0;
  branchEnd = 0;
  /** `;received=…` from its semicolon to its end, and the address in it, without brackets; all 0 where absent. */
  receivedAt = 0;
  receivedStop = 0;
  receivedStart = 0;
  receivedEnd = 0;
  /** `;rport` from its semicolon to its end, and the port that it holds (0 where it holds none). */
  rportAt = 0;
  rportEnd = 0;
  rport = 0;
  /** Value of our own extension parameter `w`, which names the flow that a response goes back by. */
  flowStart = 0;
  flowEnd = 0;

  /** Reads the value that starts at `start` within a header value ending at `end`. False where it is no Via. */
  parse(bytes: Uint8Array, start: number, end: number): boolean {
    let i = start;
    while (i < end && isBlank(bytes[i]!)) i++;
    this.start = i;
    this.branchStart = this.branchEnd = this.receivedAt = this.receivedStop = this.receivedStart = this.receivedEnd = 0;
    this.rportAt = this.rportEnd = this.rport = this.port = this.flowStart = this.flowEnd = 0;
    // sent-protocol: SIP / 2.0 / transport, with white space allowed around the slashes.
    i = this.#slash(bytes, i, end);
    if (i < 0) return false;
    i = this.#slash(bytes, i, end);
    if (i < 0) return false;
    this.transportStart = i;
    while (i < end && isTransportChar(bytes[i]!)) i++;
    this.transportEnd = i;
    const gap = i;
    while (i < end && isBlank(bytes[i]!)) i++;
    if (i === gap || this.transportEnd === this.transportStart) return false;
    i = this.#sentBy(bytes, i, end);
    return i >= 0 && this.#params(bytes, i, end);
  }

  #slash(bytes: Uint8Array, start: number, end: number): number {
    let i = start;
    while (i < end && bytes[i] !== 47 && i - start < 8) i++;
    if (i >= end || bytes[i] !== 47) return -1;
    i++;
    while (i < end && isBlank(bytes[i]!)) i++;
    return i;
  }

  #sentBy(bytes: Uint8Array, start: number, end: number): number {
    let i = start;
    if (bytes[i] === 91) {
      this.hostStart = ++i;
      while (i < end && bytes[i] !== 93) i++;
      if (i >= end) return -1;
      this.hostEnd = i++;
    } else {
      this.hostStart = i;
      while (i < end && !isBlank(bytes[i]!) && bytes[i] !== 58 && bytes[i] !== 59 && bytes[i] !== 44) i++;
      this.hostEnd = i;
    }
    if (this.hostEnd === this.hostStart) return -1;
    while (i < end && isBlank(bytes[i]!)) i++;
    if (i < end && bytes[i] === 58) {
      i++;
      while (i < end && isBlank(bytes[i]!)) i++;
      const portStart = i;
      while (i < end && bytes[i]! >= 48 && bytes[i]! <= 57) i++;
      this.port = readDecimal(bytes, portStart, i);
      if (this.port < 1 || this.port > 65535) return -1;
    }
    this.paramsStart = i;
    return i;
  }

  #params(bytes: Uint8Array, start: number, end: number): boolean {
    let i = start;
    for (;;) {
      while (i < end && isBlank(bytes[i]!)) i++;
      if (i >= end || bytes[i] === 44) {
        this.end = i;
        return true;
      }
      if (bytes[i] !== 59) return false;
      const at = i++;
      while (i < end && isBlank(bytes[i]!)) i++;
      const nameStart = i;
      while (i < end && !isDelimiter(bytes[i]!)) i++;
      const nameEnd = i;
      while (i < end && isBlank(bytes[i]!)) i++;
      let valueStart = 0;
      let valueEnd = 0;
      if (i < end && bytes[i] === 61) {
        i++;
        while (i < end && isBlank(bytes[i]!)) i++;
        valueStart = i;
        if (bytes[i] === 34) {
          i = skipQuoted(bytes, i, end);
          if (i < 0) return false;
        } else while (i < end && !isBlank(bytes[i]!) && bytes[i] !== 59 && bytes[i] !== 44) i++;
        valueEnd = i;
      } else i = nameEnd;
      if (!this.#param(bytes, at, nameStart, nameEnd, valueStart, valueEnd)) return false;
    }
  }

  /** Keeps the parameters that matter; false for one that must not stand so. */
  #param(
    bytes: Uint8Array,
    at: number,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): boolean {
    if (equalsNoCase(bytes, nameStart, nameEnd, FLOW)) {
      this.flowStart = valueStart;
      this.flowEnd = valueEnd;
    } else if (equalsNoCase(bytes, nameStart, nameEnd, RPORT)) {
      if (this.rportAt > 0) return false;
      this.rportAt = at;
      this.rportEnd = valueEnd || nameEnd;
      if (valueEnd > valueStart) this.rport = readDecimal(bytes, valueStart, valueEnd);
      return this.rport >= 0 && this.rport <= 65535;
    } else if (equalsNoCase(bytes, nameStart, nameEnd, BRANCH)) {
      if (this.branchStart > 0) return false;
      this.branchStart = valueStart;
      this.branchEnd = valueEnd;
    } else if (equalsNoCase(bytes, nameStart, nameEnd, RECEIVED)) {
      if (this.receivedAt > 0 || valueEnd <= valueStart) return false;
      this.receivedAt = at;
      this.receivedStop = valueEnd;
      // An IPv6 address may come in brackets from old stacks.
      const bracketed = bytes[valueStart] === 91;
      if (bracketed && bytes[valueEnd - 1] !== 93) return false;
      this.receivedStart = bracketed ? valueStart + 1 : valueStart;
      this.receivedEnd = bracketed ? valueEnd - 1 : valueEnd;
    }
    return true;
  }
}

const FLOW = toBytes('w');
const RPORT = toBytes('rport');
const BRANCH = toBytes('branch');
const RECEIVED = toBytes('received');

const isDelimiter = (c: number): boolean => c === 61 || c === 59 || c === 44 || isBlank(c);
const isTransportChar = (c: number): boolean => ((c | 32) >= 97 && (c | 32) <= 122) || (c >= 48 && c <= 57) || c === 45;
