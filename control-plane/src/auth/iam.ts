import { IAM_BODY, IAM_HEADERS, type IamProof, iamKeys } from '@sipfleet/contract';
import { AuthError } from './auth-error.ts';

/** Whose credentials signed a request, as AWS says. */
export interface CallerIdentity {
  readonly account: string;
  /** `arn:aws:sts::123456789012:assumed-role/ROLE/SESSION`; of an instance role the session is the instance's id. */
  readonly arn: string;
}

/** Sends a verified proof to STS. Throws {@link AuthError} where AWS refuses it, {@link StsUnavailable} where it does not answer. */
export type AskSts = (proof: IamProof) => Promise<CallerIdentity>;

/** AWS STS cannot be asked just now: worth another try. */
export class StsUnavailable extends Error {
  readonly code = 'STS';
  override name = 'StsUnavailable';
}

/** AWS itself takes fifteen minutes; an agent sends its proof at once. */
const MAX_AGE_MS = 300_000;
const HOST = /^sts(\.[a-z]{2}(-[a-z]+)+-\d)?\.amazonaws\.com(\.cn)?$/;
/** All that may go out to AWS under our name: nothing that an agent makes up. */
const FORWARDED = [
  'authorization',
  'content-type',
  'x-amz-content-sha256',
  'x-amz-date',
  'x-amz-security-token',
  ...Object.values(IAM_HEADERS),
];
const SIGNED = ['host', 'x-amz-date', ...Object.values(IAM_HEADERS)];

export interface ProofContext {
  readonly audience: string;
  readonly publicKey: { readonly x: string };
  readonly sealKey: { readonly x: string } | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * Holds a proof to everything but its signature, which AWS alone can check: that it goes to STS and to nowhere else, asks for nothing but the
 * caller's identity, was made for this control plane and these keys, and lately. Returns what may be sent. Throws {@link AuthError}.
 */
export function verifyIamProof(proof: IamProof, { audience, publicKey, sealKey, now }: ProofContext): IamProof {
  const host = stsHost(proof.url);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(proof.headers)) {
    const lower = name.toLowerCase();
    if (Object.hasOwn(headers, lower)) refuse(`the header ${lower} stands in it twice`);
    if (!/^[\x20-\x7e]*$/.test(value)) refuse(`the header ${lower} holds more than printable characters`);
    headers[lower] = value.trim();
  }
  if (headers.host !== undefined && headers.host !== host) refuse('its host is not that of its URL');
  if (proof.body !== IAM_BODY) refuse(`its body is not ${IAM_BODY}`);
  const signed = signedHeaders(headers.authorization ?? '');
  for (const name of SIGNED) if (!signed.includes(name)) refuse(`the header ${name} is not signed`);
  const foreign = signed.find((name) => name !== 'host' && !FORWARDED.includes(name));
  if (foreign !== undefined) refuse(`the header ${foreign} is signed, and is not passed on`);
  if (headers[IAM_HEADERS.audience] !== audience)
    refuse(
      `it is for the audience ${JSON.stringify(headers[IAM_HEADERS.audience])}, not for ${JSON.stringify(audience)}`,
    );
  if (headers[IAM_HEADERS.keys] !== iamKeys(publicKey, sealKey)) refuse('it was made for other keys');
  const age = now - madeAt(headers['x-amz-date'] ?? '');
  if (!(Math.abs(age) <= MAX_AGE_MS)) refuse(`it was made ${Math.round(age / 1000)} s ago: check the clocks`);
  const forwarded = FORWARDED.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]]));
  return { url: `https://${host}/`, body: IAM_BODY, headers: Object.fromEntries(forwarded) };
}

function refuse(why: string): never {
  throw new AuthError(401, `the IAM proof is refused: ${why}`);
}

function stsHost(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain =
    url?.protocol === 'https:' && HOST.test(url.host) && url.pathname === '/' && !url.search && !url.username;
  if (!plain || url.hash) refuse('its URL is not that of AWS STS');
  return url.host;
}

/** `AWS4-HMAC-SHA256 Credential=…/20260102/eu-south-1/sts/aws4_request, SignedHeaders=a;b, Signature=…` */
function signedHeaders(authorization: string): string[] {
  const found =
    /^AWS4-HMAC-SHA256 Credential=\w{16,128}\/\d{8}\/[a-z0-9-]{1,30}\/sts\/aws4_request, ?SignedHeaders=([a-z0-9;-]{1,500}), ?Signature=[0-9a-f]{64}$/.exec(
      authorization,
    )?.[1];
  if (found === undefined) refuse('it is not signed by AWS Signature Version 4 for sts');
  return found.split(';');
}

/** `20260102T030405Z` → milliseconds since the epoch; NaN where it is something else. */
function madeAt(date: string): number {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date);
  if (!parts) return Number.NaN;
  const [, year, month, day, hour, minute, second] = parts.map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

const STS_MS = 10_000;
const MAX_ANSWER = 20_000;

/** STS as it stands on the internet. `send`: fetch. */
export function askSts(send: typeof fetch = fetch): AskSts {
  return async ({ url, body, headers }) => {
    let response: Response;
    let text: string;
    try {
      response = await send(url, {
        method: 'POST',
        headers: { ...headers, accept: 'application/json' },
        body,
        redirect: 'error',
        signal: AbortSignal.timeout(STS_MS),
      });
      text = (await response.text()).slice(0, MAX_ANSWER);
    } catch (error) {
      throw new StsUnavailable(`AWS STS does not answer: ${(error as Error).message}`, { cause: error });
    }
    if (response.status >= 500 || response.status === 429)
      throw new StsUnavailable(`AWS STS answers ${response.status}`);
    if (!response.ok) refuse(`AWS STS says ${response.status}: the credentials are not valid, or have expired`);
    return identityOf(text);
  };
}

function identityOf(text: string): CallerIdentity {
  try {
    const { Account, Arn } = JSON.parse(text).GetCallerIdentityResponse.GetCallerIdentityResult;
    if (typeof Account === 'string' && typeof Arn === 'string') return { account: Account, arn: Arn };
  } catch (error) {
    throw new StsUnavailable('the answer of AWS STS is not understood', { cause: error });
  }
  throw new StsUnavailable('the answer of AWS STS names nobody');
}
