/** Methods known by name; the last stands for every other token, so that a hostile name makes no new metric series. */
export const METHODS = [
  'INVITE',
  'ACK',
  'BYE',
  'CANCEL',
  'REGISTER',
  'OPTIONS',
  'PRACK',
  'SUBSCRIBE',
  'NOTIFY',
  'PUBLISH',
  'INFO',
  'REFER',
  'MESSAGE',
  'UPDATE',
  'other',
] as const;
export type MethodName = (typeof METHODS)[number];

/** `METHOD.INVITE` → its index in {@link METHODS}. */
export const METHOD = Object.fromEntries(METHODS.map((name, i) => [name, i])) as Record<MethodName, number>;

const BY_LENGTH: { code: number; bytes: Uint8Array }[][] = [];
for (const [code, name] of METHODS.slice(0, -1).entries()) {
  BY_LENGTH[name.length] ??= [];
  BY_LENGTH[name.length]!.push({ code, bytes: new TextEncoder().encode(name) });
}

/** Index of the method named by `bytes[start, end)`. Methods are case-sensitive (RFC 3261 §7.1). */
export function methodCode(bytes: Uint8Array, start: number, end: number): number {
  const candidates = BY_LENGTH[end - start];
  if (candidates !== undefined)
    for (let i = 0; i < candidates.length; i++) {
      const name = candidates[i]!.bytes;
      let k = 0;
      while (k < name.length && bytes[start + k] === name[k]) k++;
      if (k === name.length) return candidates[i]!.code;
    }
  return METHODS.length - 1;
}
