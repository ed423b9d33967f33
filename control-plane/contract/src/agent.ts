import { z } from 'zod';
import { ipAddress, resourceName } from './address.ts';
import { CheckReport, RunCheck, ScheduleHint } from './check-schedule.ts';
import { Farm } from './farm.ts';

/** A key that signs tokens of one farm: 16 bytes as 32 hex digits. The first is used to sign, all are accepted. */
export const TokenKey = z.strictObject({
  id: z.int().min(0).max(255),
  key: z.string().regex(/^[0-9a-f]{32}$/, { error: '32 hexadecimal digits' }),
});
export type TokenKey = z.infer<typeof TokenKey>;

/** What the agents of one site run. Its identity is the SHA-256 of its canonical JSON, which is its ETag. Carries keys: never logged. */
export const Snapshot = z.strictObject({
  format: z.literal(1),
  site: resourceName,
  /** The global revision at which this site's content last changed. */
  generation: z.int().min(0),
  farms: z.array(z.strictObject({ spec: Farm, revision: z.int().min(0), tokenKeys: z.array(TokenKey).min(1) })),
  /** The Secrets that these farms name, with the revision of each: a rotated one makes another snapshot. Left out: none. */
  secrets: z.record(resourceName, z.int().min(1)).optional(),
});
export type Snapshot = z.infer<typeof Snapshot>;

const point = z.string().regex(/^[A-Za-z0-9_-]{43}$/);
/** RFC 8037: a public key that signs. */
const publicKey = z.strictObject({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: point });
/** RFC 8037: a public key that Secrets are sealed to. */
const sealKey = z.strictObject({ kty: z.literal('OKP'), crv: z.literal('X25519'), x: point });

/**
 * A request to AWS STS, `GetCallerIdentity`, that an agent has signed with the credentials of its instance role and not sent: the control
 * plane sends it, and so learns whose credentials they are. The agent's keys are signed with it, by {@link IAM_HEADERS}.
 */
export const IamProof = z.strictObject({
  url: z.string().max(200),
  body: z.string().max(200),
  headers: z.record(z.string().max(100), z.string().max(4000)),
});
export type IamProof = z.infer<typeof IamProof>;

/** Signed headers of an {@link IamProof}: for whom it is, and the keys of the agent that it is good for ({@link iamKeys}). */
export const IAM_HEADERS = { audience: 'x-sipfleet-audience', keys: 'x-sipfleet-keys' } as const;
export const IAM_BODY = 'Action=GetCallerIdentity&Version=2011-06-15';

/** What stands in the signed header: so a proof that somebody else got hold of enrols no key but the one it was made for. */
export const iamKeys = (publicKey: { x: string }, seal: { x: string } | undefined): string =>
  `${publicKey.x}.${seal?.x ?? ''}`;

/** `POST /v1/agents/enrol`: a one-time join token, or the proof of an IAM role, buys an identity. */
export const EnrolRequest = z
  .strictObject({
    joinToken: z.string().min(1).max(200).optional(),
    iam: IamProof.optional(),
    name: resourceName,
    publicKey,
    /** Left out by agents of before there were Secrets; they bring it by `PUT /v1/agent/keys`. */
    sealKey: sealKey.optional(),
    version: z.string().max(50),
  })
  .refine(({ joinToken, iam }) => (joinToken === undefined) !== (iam === undefined), {
    path: ['joinToken'],
    error: 'either a join token or the proof of an IAM role',
  });
export type EnrolRequest = z.infer<typeof EnrolRequest>;

/** `PUT /v1/agent/keys`: what Secrets shall be sealed to from now on. */
export const AgentKeys = z.strictObject({ sealKey });
export type AgentKeys = z.infer<typeof AgentKeys>;

/** `PUT /v1/agent/key`: the key that this agent signs with from now on. `proof`: that it has it, base64url Ed25519 over {@link keyProofText}. */
export const AgentKey = z.strictObject({ publicKey, proof: z.string().max(100) });
export type AgentKey = z.infer<typeof AgentKey>;

export const keyProofText = (agentId: string, x: string): string => `sipfleet agent-key 1\n${agentId}\n${x}`;

/** A key that snapshots are signed with, and its place in the chain of such keys. */
export const SigningKey = z.strictObject({ sequence: z.int().min(1), x: point });
export type SigningKey = z.infer<typeof SigningKey>;

/**
 * `GET /v1/agent/keys`: every signing key there was, oldest first. `signature`, Ed25519 as base64url, is made by the key before it over
 * {@link signedText} of `keys` and the key's canonical JSON; the first signs itself.
 */
export const KeyChain = z.strictObject({ keys: z.array(SigningKey.extend({ signature: z.string().max(100) })).min(1) });
export type KeyChain = z.infer<typeof KeyChain>;

/** Header of what is signed: `SEQUENCE.SIGNATURE`, the signature as base64url. */
export const SIGNATURE_HEADER = 'sipfleet-signature';

/** What is really signed: the purpose stands before the body, so that a signature for one serves for no other. */
export const signedText = (purpose: 'keys' | 'snapshot' | 'secrets', body: string): string =>
  `sipfleet ${purpose} 1\n${body}`;

/** What keys of bundles are derived for (the `info` of HKDF, RFC 5869). */
export const SEAL_INFO = 'sipfleet secrets 1';

/** `GET /v1/agent/secrets`: the values that the farms of an agent's site name, sealed to that agent. */
export const SecretBundle = z.strictObject({
  format: z.literal(1),
  agentId: z.string(),
  /** The key of the agent's that it is sealed to. */
  recipientKey: point,
  /** The Secrets inside, with the revision of each. */
  secrets: z.record(resourceName, z.int().min(1)),
  /** The sender's half of an X25519 exchange, new for every bundle. */
  ephemeralKey: point,
  /**
   * base64url: AES-256-GCM of the JSON `{ name: { key: value } }`, the tag at its end; the canonical JSON of `format`, `agentId` and
   * `secrets` is authenticated with it. HKDF-SHA256 of the exchange, with both public keys as salt and {@link SEAL_INFO} as info,
   * gives 32 bytes of key and 12 of nonce.
   */
  box: z.string(),
});
export type SecretBundle = z.infer<typeof SecretBundle>;

export const EnrolResponse = z.strictObject({
  /** `agt_` and 20 characters; subject of the JWTs that the agent signs. */
  agentId: z.string(),
  /** 1–65535, unique in the fleet: names the agent inside routing tokens. */
  number: z.int().min(1).max(65535),
  site: resourceName,
  /** Pinned by the agent: what it runs must be signed with this key, or with one that a chain from here leads to. */
  signingKey: SigningKey.optional(),
});
export type EnrolResponse = z.infer<typeof EnrolResponse>;

export const BackendState = z.enum(['unknown', 'up', 'down']);
export type BackendState = z.infer<typeof BackendState>;

/** ACK or NACK of a snapshot (xDS semantics): what was tried, and what runs. */
export const SnapshotStatus = z.strictObject({
  status: z.enum(['APPLIED', 'FAILED', 'NONE']),
  /** What the status is about; null with NONE. */
  etag: z.string().nullable(),
  generation: z.int().nullable(),
  /** Why it FAILED. */
  reason: z.string().max(2000).optional(),
  /** The ETag that the agent runs now; null before its first. */
  running: z.string().nullable(),
});
export type SnapshotStatus = z.infer<typeof SnapshotStatus>;

const total = z.int().min(0);

/**
 * What an agent saw of one farm's traffic, as seen at the edge. Totals since the agent's start: they begin anew when `uptimeSeconds` does,
 * so a rate is the difference of two reports. What goes on now is soft state, and approximate.
 */
export const FarmTraffic = z.strictObject({
  farm: resourceName,
  /** Sessions that a client or a PBX began, and those that a 2xx answered (RFC 6076 SER: its denominator and numerator). */
  sessionAttempts: total,
  sessionsEstablished: total,
  /** Refused with 408, 500, 503 or 504, or never answered (RFC 6076 ISA). */
  sessionFailures: total,
  registrationAttempts: total,
  /** Final responses 4xx but 401, 402 and 407, 5xx, 6xx, and silence (RFC 6076 IRA). */
  registrationFailures: total,
  checksFailed: total,
  activeSessions: total,
  activeRegistrations: total,
});
export type FarmTraffic = z.infer<typeof FarmTraffic>;

/** A backend's state changed while the control plane was away, or since the report before. */
export const VerdictChange = z.strictObject({
  farm: resourceName,
  backend: resourceName,
  state: BackendState,
  /** RFC 3339. */
  at: z.iso.datetime(),
  reason: z.string().max(200),
});
export type VerdictChange = z.infer<typeof VerdictChange>;

/** `POST /v1/agent/report`: report and poll in one exchange. What a newer agent says beyond this is left aside. */
export const AgentReport = z.object({
  version: z.string().max(50),
  /** The agent's own address, by which the others of its site reach it. Left out by agents of before there was that. */
  address: ipAddress.optional(),
  uptimeSeconds: z.number().min(0),
  snapshot: SnapshotStatus,
  backends: z
    .array(
      z.strictObject({
        farm: resourceName,
        backend: resourceName,
        state: BackendState,
        /** RFC 3339. */
        since: z.iso.datetime(),
        /** It keeps its dialogs and is given nothing new. Left out: it is. */
        draining: z.literal(true).optional(),
        /** Dialogs that go on there, as far as this agent saw them; of one that drains. */
        calls: z.int().min(0).optional(),
        /** Evidence of the last change: `3 probes without an answer in 2s`. */
        reason: z.string().max(200),
      }),
    )
    .max(20_000),
  checks: z.array(CheckReport).max(5_000).optional(),
  /** One entry per farm. Left out by agents that do not count. */
  traffic: z.array(FarmTraffic).max(5_000).optional(),
  /** Since the last report that arrived, oldest first. */
  changes: z.array(VerdictChange).max(200).optional(),
  /** Changes before those, for which there was no room. */
  changesLost: z.int().min(1).optional(),
});
export type AgentReport = z.infer<typeof AgentReport>;

/** What the agent should run: answered to every report. What a newer control plane says beyond this is left aside. */
export const Target = z.object({
  site: resourceName,
  generation: z.int(),
  etag: z.string(),
  /** ETag of the agent's check schedule: only where it is another one does the agent ask for it. */
  schedule: z.string().optional(),
  /** `wss:` address that hints come from; left out: `v1/agent/push` below the address of the API. */
  push: z.url({ protocol: /^wss?$/ }).optional(),
  /** Should all agents lose their connection at once: what their first tries to be back are to be spread over. */
  spreadMs: z.int().min(0).max(300_000).optional(),
});
export type Target = z.infer<typeof Target>;

/** Sent over the push socket. A hint, no more: the agent asks for its own snapshot after a random part of `jitterMs`. */
export const PushHint = z.strictObject({
  type: z.literal('snapshot'),
  site: resourceName,
  generation: z.int(),
  jitterMs: z.int().min(0).max(60_000),
});
export type PushHint = z.infer<typeof PushHint>;

/** All that comes over the push socket. */
export const PushMessage = z.discriminatedUnion('type', [PushHint, ScheduleHint, RunCheck]);
export type PushMessage = z.infer<typeof PushMessage>;
