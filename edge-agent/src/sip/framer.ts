/** What feeding a chunk came to. All but `ok` mean: close the connection, nothing after this point can be framed. */
export const FRAME = {
  ok: 0,
  /** A line that is no header, bare CR or LF, a Content-Length that is no number or stands twice with two values. */
  malformed: 1,
  /** RFC 3261 §18.3: on a stream every message carries one. */
  noContentLength: 2,
  headerTooLong: 3,
  bodyTooLong: 4,
} as const;
export type FrameResult = (typeof FRAME)[keyof typeof FRAME];

/** Who gets what a stream holds. Calls come from within `feed`, in the order of the stream. */
export interface FrameSink {
  /** One whole message. `bytes` may be read and written until the call returns. */
  message(bytes: Uint8Array, start: number, end: number): void;
  /** A double CRLF between messages (RFC 5626 §4.4.1): to be answered with one CRLF. */
  ping(): void;
}

export interface FrameLimits {
  /** Bytes of start line and headers with the empty line that ends them. */
  header: number;
  body: number;
}

/** Names that carry the length (RFC 3261 §20.14), in lower case. */
const LONG_NAME = Uint8Array.from('content-length', (c) => c.charCodeAt(0));
const COMPACT_NAME = Uint8Array.from('l', (c) => c.charCodeAt(0));

/** A buffer up to this long is kept for the next message. */
const KEPT_BYTES = 4096;

const CR = 13;
const LF = 10;
const SP = 32;
const TAB = 9;
const COLON = 58;

/** Where in a message the next byte stands. */
const BETWEEN = 0; // before a start line: only CRLFs
const BETWEEN_LF = 1;
const START_LINE = 2;
const LINE = 3; // first byte of a header line
const NAME = 4; // in a name that may yet be Content-Length
const COLON_WANTED = 5; // behind that name
const OTHER = 6; // in a line that does not matter
const VALUE = 7; // before, in or behind the digits
const LINE_LF = 8; // the LF of a line's end is due
const LAST_LF = 9; // the LF of the empty line is due
const BODY = 10;
const FAILED = 11;

/**
 * Cuts a byte stream into SIP messages (RFC 3261 §7.5, §18.3). A message that lies inside one chunk is handed on where
 * it stands; one that spans chunks is put together in a buffer. Every byte is looked at once, however it arrives.
 *
 * Strict about line ends on purpose: where two parsers disagree about a bare LF, one message hides inside another.
 *
 * @example
 * const framer = new StreamFramer({ message: (bytes, start, end) => …, ping: () => … }, { header: 16384, body: 65536 });
 * if (framer.feed(chunk) !== FRAME.ok) socket.destroy();
 */
export class StreamFramer {
  readonly #sink: FrameSink;
  readonly #limits: FrameLimits;
  #state = BETWEEN;
  /** Single CRLFs since the last message or ping. */
  #blank = 0;
  #name = LONG_NAME;
  #matched = 0;
  /** This line is Content-Length, so a folded line (RFC 3261 §7.3.1) goes on with its value. */
  #lengthLine = false;
  /** The line that ended is the start line, which cannot be folded. */
  #startLine = false;
  #digits = 0;
  #valueEnded = false;
  #value = 0;
  /** Content-Length of this message so far; −1: none yet. */
  #contentLength = -1;
  /** Header bytes of this message in chunks before the current one. */
  #headerBytes = 0;
  /** Body bytes still to come. */
  #missing = 0;
  #buffer = new Uint8Array(0);
  #buffered = 0;
  #result: FrameResult = FRAME.ok;

  constructor(sink: FrameSink, limits: FrameLimits) {
    this.#sink = sink;
    this.#limits = limits;
  }

  /** A message has begun and not ended. */
  get partial(): boolean {
    return this.#state > BETWEEN_LF && this.#state !== FAILED;
  }

  /** Takes the next bytes of the stream. Once a result other than ok is returned, it stays. */
  feed(chunk: Uint8Array): FrameResult {
    const end = chunk.length;
    let at = 0;
    /** Where the current message begins in this chunk; 0 too where it began in an earlier one. */
    let start = 0;
    while (at < end && this.#state !== FAILED) {
      if (this.#state <= BETWEEN_LF) {
        at = this.#skipBlank(chunk, at);
        start = at;
      } else if (this.#state === BODY) {
        const take = Math.min(this.#missing, end - at);
        at += take;
        this.#missing -= take;
      } else at = this.#readHeader(chunk, start, at);
      if (this.#state === BODY && this.#missing === 0) {
        this.#deliver(chunk, start, at);
        start = at;
      }
    }
    if (this.partial) this.#keep(chunk, start);
    return this.#result;
  }

  /** Looks at nothing more: for a sink that has had enough in the middle of a chunk. */
  stop(): void {
    this.#state = FAILED;
    this.#buffer = new Uint8Array(0);
  }

  #fail(result: FrameResult): void {
    this.#result = result;
    this.stop();
  }

  #skipBlank(chunk: Uint8Array, from: number): number {
    let at = from;
    while (at < chunk.length) {
      const c = chunk[at] as number;
      if (this.#state === BETWEEN_LF) {
        if (c !== LF) {
          this.#fail(FRAME.malformed);
          return at;
        }
        this.#state = BETWEEN;
        if (++this.#blank === 2) {
          this.#blank = 0;
          this.#sink.ping();
          if ((this.#state as number) === FAILED) return at;
        }
      } else if (c === CR) this.#state = BETWEEN_LF;
      else {
        this.#begin();
        return at;
      }
      at++;
    }
    return at;
  }

  #begin(): void {
    this.#state = START_LINE;
    this.#blank = 0;
    this.#startLine = true;
    this.#contentLength = -1;
    this.#headerBytes = 0;
  }

  /** From `from` to the end of the header or of the chunk, whichever comes first. */
  #readHeader(chunk: Uint8Array, start: number, from: number): number {
    const room = this.#limits.header - this.#headerBytes;
    const end = Math.min(chunk.length, start + room);
    let at = from;
    while (at < end && this.#state !== BODY && this.#state !== FAILED) {
      if (this.#state === START_LINE || this.#state === OTHER) at = this.#skipLine(chunk, at, end);
      else this.#step(chunk[at++] as number);
    }
    if (at === end && end < chunk.length && this.#state !== BODY && this.#state !== FAILED)
      this.#fail(FRAME.headerTooLong);
    return at;
  }

  /** The rest of a line that does not matter, without a look at the state for each byte. */
  #skipLine(chunk: Uint8Array, from: number, end: number): number {
    for (let at = from; at < end; at++) {
      const c = chunk[at] as number;
      if (c > CR) continue;
      if (c === CR) {
        this.#state = LINE_LF;
        return at + 1;
      }
      if (c === LF) {
        this.#fail(FRAME.malformed);
        return at;
      }
    }
    return end;
  }

  #step(c: number): void {
    switch (this.#state) {
      case LINE_LF:
        if (c === LF) this.#state = LINE;
        else this.#fail(FRAME.malformed);
        return;
      case LINE:
        this.#beginLine(c);
        return;
      case NAME:
        this.#readName(c);
        return;
      case COLON_WANTED:
        this.#wantColon(c);
        return;
      case VALUE:
        this.#readValue(c);
        return;
      default: // LAST_LF
        if (c === LF) this.#endHeader();
        else this.#fail(FRAME.malformed);
    }
  }

  #beginLine(c: number): void {
    if (c === SP || c === TAB) {
      if (this.#startLine) this.#fail(FRAME.malformed);
      else if (this.#lengthLine) this.#readValue(c);
      else this.#state = OTHER;
      return;
    }
    if (this.#lengthLine) this.#endLength();
    if (this.#state === FAILED) return;
    this.#startLine = false;
    this.#lengthLine = false;
    const lower = c | 32;
    if (c === CR) this.#state = LAST_LF;
    else if (c === LF || c === COLON) this.#fail(FRAME.malformed);
    else if (lower === LONG_NAME[0] || lower === COMPACT_NAME[0]) {
      this.#name = lower === COMPACT_NAME[0] ? COMPACT_NAME : LONG_NAME;
      this.#matched = 1;
      this.#state = NAME;
    } else this.#state = OTHER;
  }

  #readName(c: number): void {
    if (this.#matched === this.#name.length) this.#wantColon(c);
    else if ((c | 32) === this.#name[this.#matched] && c !== CR) this.#matched++;
    else if (c === CR) this.#state = LINE_LF;
    else if (c === LF) this.#fail(FRAME.malformed);
    else this.#state = OTHER;
  }

  /** HCOLON = *( SP / HTAB ) ":" SWS. A name without its colon, or with it on the next line, is no header. */
  #wantColon(c: number): void {
    if (c === COLON) {
      this.#state = VALUE;
      this.#lengthLine = true;
      this.#digits = 0;
      this.#value = 0;
      this.#valueEnded = false;
    } else if (c === SP || c === TAB) this.#state = COLON_WANTED;
    else if (c === CR || c === LF || this.#state === COLON_WANTED) this.#fail(FRAME.malformed);
    else this.#state = OTHER;
  }

  /** LWS digits LWS, where LWS may fold: the state returns here from the next line's first byte. */
  #readValue(c: number): void {
    this.#state = VALUE;
    if (c === CR) {
      this.#valueEnded = this.#digits > 0;
      this.#state = LINE_LF;
    } else if (c === SP || c === TAB) this.#valueEnded = this.#digits > 0;
    else if (c < 48 || c > 57 || this.#valueEnded) this.#fail(FRAME.malformed);
    else {
      this.#digits++;
      this.#value = this.#value * 10 + c - 48;
      // Before it can lose precision, or be cut to 32 bits by somebody behind us.
      if (this.#value > this.#limits.body) this.#fail(FRAME.bodyTooLong);
    }
  }

  #endLength(): void {
    if (this.#digits === 0) this.#fail(FRAME.malformed);
    else if (this.#contentLength >= 0 && this.#contentLength !== this.#value) this.#fail(FRAME.malformed);
    else this.#contentLength = this.#value;
  }

  #endHeader(): void {
    if (this.#contentLength < 0) {
      this.#fail(FRAME.noContentLength);
      return;
    }
    this.#state = BODY;
    this.#missing = this.#contentLength;
  }

  #deliver(chunk: Uint8Array, start: number, end: number): void {
    this.#state = BETWEEN;
    if (this.#buffered === 0) {
      this.#sink.message(chunk, start, end);
      return;
    }
    this.#append(chunk, start, end);
    const whole = this.#buffer;
    const length = this.#buffered;
    this.#buffered = 0;
    // One long message must not hold its memory for the life of the connection.
    if (whole.length > KEPT_BYTES) this.#buffer = new Uint8Array(0);
    this.#sink.message(whole, 0, length);
  }

  /** The message goes on in the next chunk: what came of it is kept. */
  #keep(chunk: Uint8Array, start: number): void {
    if (this.#state !== BODY) this.#headerBytes += chunk.length - start;
    this.#append(chunk, start, chunk.length);
  }

  #append(chunk: Uint8Array, start: number, end: number): void {
    const length = this.#buffered + end - start;
    if (length > this.#buffer.length) {
      const longest = this.#limits.header + this.#limits.body;
      // Doubled, so that bytes that drip in one by one are copied twice on average, not again for each.
      const grown = new Uint8Array(Math.min(longest, Math.max(length + this.#missing, 2 * length, 1024)));
      grown.set(this.#buffer.subarray(0, this.#buffered));
      this.#buffer = grown;
    }
    this.#buffer.set(start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end), this.#buffered);
    this.#buffered = length;
  }
}
