const SP = 32;
const HT = 9;
const CR = 13;
const LF = 10;

/** Blank within a value: space, tab, and the CRLF of a fold. */
export const isBlank = (c: number): boolean => c === SP || c === HT || c === CR || c === LF;

/** From an opening quote to behind its closing one; -1 where there is none (RFC 3261 §25.1 quoted-string). */
export function skipQuoted(bytes: Uint8Array, start: number, end: number): number {
  for (let i = start + 1; i < end; i++) {
    const c = bytes[i]!;
    if (c === 92) i++;
    else if (c === 34) return i + 1;
  }
  return -1;
}

/**
 * Behind the address of a name-addr or addr-spec, where the header parameters start; -1 where quotes or brackets do not close.
 * Without brackets the first semicolon starts a header parameter (RFC 3261 §20).
 */
export function skipAddress(bytes: Uint8Array, start: number, end: number): number {
  let i = start;
  while (i < end) {
    const c = bytes[i]!;
    if (c === 34) {
      i = skipQuoted(bytes, i, end);
      if (i < 0) return -1;
      continue;
    }
    if (c === 60) {
      while (i < end && bytes[i] !== 62) i++;
      return i < end ? i + 1 : -1;
    }
    if (c === 59 || c === 44) return i;
    i++;
  }
  return end;
}
