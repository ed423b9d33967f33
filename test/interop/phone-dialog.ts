import { type readMessage, value, values } from '../netns/wire.ts';

export type Message = ReturnType<typeof readMessage>;

/** A dialog as one side of it sees it (RFC 3261 §12). */
export interface Dialog {
  callId: string;
  local: string;
  remote: string;
  target: string;
  route: string[];
  sequence: number;
}

/** A provisional response that is to be acknowledged (RFC 3262). */
export const isReliable = (m: Message): boolean => m.status > 100 && m.status < 200 && value(m, 'rseq') !== '';
export const tagOf = (address: string): string => /;tag=([^;]+)/.exec(address)?.[1] ?? '';

/** The dialog that a response makes, as who sent the request sees it. */
export const asCaller = (response: Message): Dialog => ({
  callId: value(response, 'call-id'),
  local: value(response, 'from'),
  remote: value(response, 'to'),
  target: uriOf(value(response, 'contact')),
  route: values(response, 'record-route').reverse(),
  sequence: Number.parseInt(value(response, 'cseq'), 10),
});

export const uriOf = (contact: string): string => /<([^>]+)>/.exec(contact)?.[1] ?? contact;
