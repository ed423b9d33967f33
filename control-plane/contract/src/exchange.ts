import { z } from 'zod';

/**
 * Header of the answer to an agent's upgrade, with the value {@link EXCHANGE_VERSION}: over this push socket it may also report and ask for its snapshot. Where it is
 * missing (API Gateway, a control plane of before) the agent does that by HTTP, as it does with what is longer than {@link MAX_EXCHANGE}.
 */
export const EXCHANGE_HEADER = 'sipfleet-exchange';
export const EXCHANGE_VERSION = '1';

/** Longest report, and longest snapshot, that goes this way, in bytes. */
export const MAX_EXCHANGE = 65_536;
/** Longest message: with what stands around them. */
export const MAX_EXCHANGE_MESSAGE = MAX_EXCHANGE + 2048;

/** Given by who asks; the answer has the same. */
const id = z.int().min(1).max(0xffff_ffff);

/** What an agent says over its push socket: `POST /v1/agent/report` and `GET /v1/agent/snapshot` in one text message each. */
export const Question = z.discriminatedUnion('type', [
  /** `report`: an `AgentReport`. */
  z.object({ type: z.literal('report'), id, report: z.unknown() }),
  /** `running`: the ETag that the agent has, as it would stand in If-None-Match. */
  z.object({ type: z.literal('snapshot'), id, running: z.string().max(100).nullable() }),
]);
export type Question = z.infer<typeof Question>;

/** The first line of an answer; what follows the line feed is the body, byte for byte as HTTP would have it. */
export const AnswerHead = z.object({
  type: z.literal('answer'),
  id,
  /** As HTTP has it. 303: it is too long for this way, ask by HTTP. */
  status: z.int().min(200).max(599),
  etag: z.string().optional(),
  /** What the signature header would say. */
  signature: z.string().optional(),
  /** Seconds, with 429. */
  retryAfter: z.int().min(0).optional(),
});
export type AnswerHead = z.infer<typeof AnswerHead>;

export const answerText = (head: Omit<AnswerHead, 'type'>, body = ''): string =>
  `${JSON.stringify({ type: 'answer', ...head })}\n${body}`;

/** Undefined: it is no answer but something that the control plane says by itself, which is one line. */
export function readAnswer(text: string): { head: unknown; body: string } | undefined {
  const end = text.indexOf('\n');
  return end < 0 ? undefined : { head: JSON.parse(text.slice(0, end)), body: text.slice(end + 1) };
}
