import { z } from 'zod';
import { port, resourceName } from './address.ts';
import { type CheckSipCommand, parseCheckSip, splitWords } from './check-sip.ts';
import { addFault, type Refine, show } from './faults.ts';
import { duration, parseDuration } from './units.ts';

export const CHECK_TYPES = ['options', 'register', 'call', 'tcp', 'tls'] as const;
export type CheckType = (typeof CHECK_TYPES)[number];

interface TypeRules {
  /** Costs the PBX something: made by few agents, at the times that the control plane sets. */
  expensive: boolean;
  interval: string;
  timeout: string;
  /** Fields that only some types have. */
  fields: readonly string[];
}

/** What each type takes and where it starts from. */
export const CHECK_RULES: Record<CheckType, TypeRules> = {
  options: { expensive: false, interval: '5s', timeout: '2s', fields: ['codes'] },
  tcp: { expensive: false, interval: '5s', timeout: '2s', fields: ['port'] },
  tls: { expensive: false, interval: '1m', timeout: '5s', fields: ['port', 'daysLeft'] },
  register: { expensive: true, interval: '1m', timeout: '5s', fields: ['codes', 'credentials', 'agents', 'from'] },
  call: {
    expensive: true,
    interval: '1m',
    timeout: '10s',
    fields: ['codes', 'credentials', 'agents', 'command', 'from', 'to', 'send', 'expectAudio'],
  },
};
const SPECIAL = [...new Set(Object.values(CHECK_RULES).flatMap((rules) => rules.fields))];

const timeOf = (text: string): number => parseDuration(text) as number;

const allowedCount = 'a whole number from 1 to 100';
const count = z.int({ error: allowedCount }).min(1, { error: allowedCount }).max(100, { error: allowedCount });
const allowedAgents = 'a whole number from 1 to 10';
const allowedDays = 'a whole number from 0 to 365';
const allowedCode = 'a status code from 200 to 699, or a class such as 2xx';
const code = z.union(
  [
    z.int({ error: allowedCode }).min(200, { error: allowedCode }).max(699, { error: allowedCode }),
    z.string({ error: allowedCode }).regex(/^[2-6]xx$/, { error: allowedCode }),
  ],
  { error: allowedCode },
);
const allowedUri = 'a SIP URI of at most 200 characters, such as sip:100@HOST';
const uri = z.string({ error: allowedUri }).regex(/^sips?:[^\s<>"]{1,195}$/, { error: allowedUri });
const SAMPLES = ['welcome.data', 'announce.data'] as const;
const allowedFile = `one of the samples that every agent has: ${SAMPLES.join(', ')} (own files are not supported yet)`;
const allowedCommand = 'a check_sip command line, such as check_sip -T 9 sip:100@192.0.2.10 sip:101@HOST';

/** One probe that is made of every backend. */
export const Check = z
  .strictObject({
    name: resourceName,
    type: z.enum(CHECK_TYPES, { error: `one of ${CHECK_TYPES.join(', ')}` }),
    /** Start to start. Left out: 5s; 1m for register, call and tls. */
    interval: duration('100ms', '1d').optional(),
    /** Everything of one probe, from first to last packet. Left out: 2s; 5s for register and tls, 10s for call; at most the interval. */
    timeout: duration('50ms', '5m').optional(),
    /** Successes in a row that bring a backend up again. */
    rise: count.default(2),
    /** Failures in a row that take a backend down. */
    fall: count.default(3),
    /** Final answers that count as success: of options, instead of all but 408 and 503; of register and call, beside 2xx. */
    codes: z
      .array(code, {
        error: `a list of ${allowedCode}`,
      })
      .min(1, { error: 'at least one code' })
      .max(20, { error: 'at most 20 codes' })
      .optional(),
    /** Agents of each site that make this check of a backend. Left out: 2. */
    agents: z
      .int({ error: allowedAgents })
      .min(1, { error: allowedAgents })
      .max(10, { error: allowedAgents })
      .optional(),
    /** Left out: the backend's port. */
    port: port.optional(),
    /** A certificate that ends in fewer days fails. Left out: 7. */
    daysLeft: z.int({ error: allowedDays }).min(0, { error: allowedDays }).max(365, { error: allowedDays }).optional(),
    /** A Secret with `username` and `password`. */
    credentials: resourceName.optional(),
    /** The call as a command line. HOST and PORT stand for each backend's. */
    command: z.string({ error: allowedCommand }).max(1000, { error: 'at most 1000 characters' }).optional(),
    /** The call in fields instead of `command`. Of a register check: who registers; left out: sip:USERNAME@HOST. */
    from: uri.optional(),
    to: uri.optional(),
    send: z
      .array(z.enum(SAMPLES, { error: allowedFile }), { error: 'a list of audio files' })
      .max(10, { error: 'at most 10 files' })
      .optional(),
    /** The peer must send sound back. */
    expectAudio: z.boolean({ error: 'true or false' }).optional(),
  })
  .overwrite((check) => {
    const rules = CHECK_RULES[check.type];
    const interval = check.interval ?? rules.interval;
    const shorter = timeOf(rules.timeout) < timeOf(interval) ? rules.timeout : interval;
    return { ...check, interval, timeout: check.timeout ?? shorter };
  })
  .check((ctx) => {
    foreignFields(ctx);
    if (ctx.value.type === 'register' && ctx.value.credentials === undefined)
      addFault(ctx, ['credentials'], 'a register check says who registers', 'the name of a Secret');
    if (ctx.value.type === 'call') checkCall(ctx);
  });
export type Check = z.infer<typeof Check>;

type CheckRefine = Refine & { value: Check };

function foreignFields(ctx: CheckRefine): void {
  const check: Record<string, unknown> = ctx.value;
  const { fields } = CHECK_RULES[ctx.value.type];
  for (const field of SPECIAL)
    if (check[field] !== undefined && !fields.includes(field)) {
      const types = CHECK_TYPES.filter((type) => CHECK_RULES[type].fields.includes(field));
      addFault(ctx, [field], `a check of type ${ctx.value.type} has no ${field}`, `only with type ${types.join(', ')}`);
    }
}

function checkCall(ctx: CheckRefine): void {
  const { command, from, to } = ctx.value;
  if (command === undefined) {
    if (from === undefined) addFault(ctx, ['from'], 'a call has a caller', `${allowedUri}; or the field command`);
    if (to === undefined) addFault(ctx, ['to'], 'a call has a callee', `${allowedUri}; or the field command`);
    if (from !== undefined && to !== undefined && !names([from, to]))
      addFault(ctx, ['to'], 'names no backend', 'a URI with the token HOST, such as sip:101@HOST');
    return;
  }
  for (const field of ['from', 'to', 'send', 'expectAudio'] as const)
    if (ctx.value[field] !== undefined) addFault(ctx, [field], 'stands in the command', 'either command or fields');
  const refuse = (message: string, allowed: string): void => addFault(ctx, ['command'], message, allowed);
  const parsed = tryParse(command);
  if (typeof parsed === 'string') refuse(parsed, allowedCommand);
  else if (parsed.help || parsed.debug || parsed.json || parsed.leg || parsed.transport || parsed.deadline)
    refuse('-h, -d, -L, --json, --transport and --deadline are for the command', 'the other options of check_sip');
  else if (parsed.tlsCa !== undefined || parsed.tlsInsecure || parsed.dns !== undefined)
    refuse('--tls-ca, --tls-insecure and --dns are for the command', 'the other options of check_sip');
  else if ((parsed.password ?? parsed.username ?? parsed.passwordFile) !== undefined)
    refuse('credentials do not belong into a farm', 'the name of a Secret in the field credentials');
  else if (!parsed.send.every((file) => SAMPLES.some((sample) => sample === file)))
    refuse(`--send ${show(parsed.send)}`, allowedFile);
  else if (!names([parsed.from, parsed.to, parsed.proxy ?? '', parsed.registrar ?? '']))
    refuse('names no backend', 'the token HOST in FROM, TO, --proxy or --registrar');
}

const names = (places: readonly string[]): boolean => places.some((p) => /(?<![\w-])HOST(?![\w-])/.test(p));

function tryParse(command: string): CheckSipCommand | string {
  const [program, ...words] = splitWords(command);
  if (program !== 'check_sip') return 'is no check_sip command line';
  try {
    return parseCheckSip(words);
  } catch (error) {
    return (error as Error).message;
  }
}

/** The call that a check of type `call` makes, with HOST and PORT still in it. */
export function callOf(check: Check): CheckSipCommand {
  if (check.command !== undefined) return parseCheckSip(splitWords(check.command).slice(1));
  const { from = '', to = '', send = [], expectAudio = false } = check;
  return { ...parseCheckSip(['--', from, to]), send, expectAudio };
}

export const isExpensive = (check: Pick<Check, 'type'>): boolean => CHECK_RULES[check.type].expensive;
/** Agents of each site that make an expensive check. */
export const agentsOf = (check: Pick<Check, 'agents'>): number => check.agents ?? 2;

/** The final answer counts as success. */
export function acceptsCode(codes: Check['codes'], status: number, otherwise: (status: number) => boolean): boolean {
  if (codes === undefined) return otherwise(status);
  return codes.some((c) => (typeof c === 'number' ? c === status : Number(c[0]) === Math.floor(status / 100)));
}

const allowedConcurrent = 'a whole number from 1 to 100';
const allowedFlaps = 'a whole number from 2 to 100';
/** How the results of a farm's checks become states of its backends: fields of a farm's `health`. */
export const HEALTH_FIELDS = {
  /** What a backend is before its first verdict. `unknown` serves until proven down, `down` waits until proven up. */
  startAs: z.enum(['unknown', 'down'], { error: 'one of unknown, down' }).default('unknown'),
  /** Expensive probes (register, call) that one backend sees at once, from all agents together. */
  maxConcurrentCalls: z
    .int({ error: allowedConcurrent })
    .min(1, { error: allowedConcurrent })
    .max(100, { error: allowedConcurrent })
    .default(1),
  /** A backend that goes down loses its connections with the agents at once, and what waits for its answer is tried elsewhere. */
  cutConnections: z.boolean({ error: 'true or false' }).default(false),
  /** A backend that went down `flaps` times `within` stays down for `hold`. */
  damping: z
    .strictObject({
      flaps: z
        .int({ error: allowedFlaps })
        .min(2, { error: allowedFlaps })
        .max(100, { error: allowedFlaps })
        .default(3),
      within: duration('1s', '1d').default('10m'),
      hold: duration('1s', '1d').default('5m'),
    })
    .optional(),
} as const;
