import type { Arena } from '../ports.ts';
import { HEADER } from '../sip/header.ts';
import type { MessageView } from '../sip/message.ts';
import { isBlank, skipAddress, skipQuoted } from '../sip/skip.ts';
import { equalsNoCase, putDecimal, readDecimal, toBytes } from '../sip/text.ts';
import type { Edits } from './edits.ts';

const EXPIRES = toBytes('expires');

/**
 * Lowers every expiry in the response to a REGISTER to at most `cap` seconds (RFC 3261 §10.3 item 8 lets a registrar grant less than
 * asked; here the phone is told less than was granted). A phone so renews soon after its PBX died, and the PBX's own binding outlives
 * the renewal.
 */
export function capExpires(response: MessageView, cap: number, arena: Arena, edits: Edits): void {
  for (let line = 0; line < response.headerCount; line++) {
    const code = response.code[line];
    if (code === HEADER.expires)
      lower(response, response.valueStart[line]!, response.valueEnd[line]!, cap, arena, edits);
    else if (code === HEADER.contact) capContacts(response, line, cap, arena, edits);
  }
}

/** Contact = *( name-addr *( ;param ) , … ): the `expires` parameter of each. */
function capContacts(response: MessageView, line: number, cap: number, arena: Arena, edits: Edits): void {
  const { bytes } = response;
  const end = response.valueEnd[line]!;
  let i = response.valueStart[line]!;
  while (i >= 0 && i < end) {
    i = skipAddress(bytes, i, end);
    while (i >= 0 && i < end && bytes[i] !== 44) {
      if (bytes[i] === 34) i = skipQuoted(bytes, i, end);
      else if (bytes[i] === 59) i = param(response, i + 1, end, cap, arena, edits);
      else i++;
    }
    if (i >= 0) i++;
  }
}

/** Reads one parameter; returns the position behind its name, or behind its value where that is an expiry. */
function param(response: MessageView, start: number, end: number, cap: number, arena: Arena, edits: Edits): number {
  const { bytes } = response;
  let i = start;
  while (i < end && isBlank(bytes[i]!)) i++;
  const nameStart = i;
  while (i < end && bytes[i] !== 61 && bytes[i] !== 59 && bytes[i] !== 44 && !isBlank(bytes[i]!)) i++;
  const nameEnd = i;
  while (i < end && isBlank(bytes[i]!)) i++;
  if (bytes[i] !== 61 || i >= end || !equalsNoCase(bytes, nameStart, nameEnd, EXPIRES)) return i;
  i++;
  while (i < end && isBlank(bytes[i]!)) i++;
  const valueStart = i;
  while (i < end && bytes[i]! >= 48 && bytes[i]! <= 57) i++;
  lower(response, valueStart, i, cap, arena, edits);
  return i;
}

function lower(response: MessageView, start: number, end: number, cap: number, arena: Arena, edits: Edits): void {
  if (readDecimal(response.bytes, start, end) <= cap || !edits.room) return;
  const at = arena.used;
  arena.used = putDecimal(arena.bytes, at, cap);
  edits.replace(start, end, at, arena.used);
}
