import { explain } from './balancer/explain.ts';
import type { FarmPlan, Plan } from './plan.ts';
import type { Endpoint } from './ports.ts';
import type { DecisionView } from './telemetry/admin-calls.ts';
import { endOf, type KeptCall } from './telemetry/recorder/kept-call.ts';
import type { Redaction } from './telemetry/recorder/redact.ts';

/** Answers "why this backend" for the agent's local HTTP, by the plan that runs. */

const CLIENT: Endpoint = { transport: 0, ip0: 0, ip1: 0, ip2: 0xffff, ip3: 0x7f000001, port: 5060, connection: 0 };

/** Where calls to `user` (or `user@domain`) and its registrations go now, in every farm or in one. */
export function explainUser(plan: Plan | undefined, user: string, farm: string | undefined): DecisionView[] {
  // What could end a header line or a URI is no user that a phone could have.
  if (!plan || !/^[^\s<>"\r\n]{1,200}$/.test(user)) return [];
  const farms = plan.farms.filter(({ name }) => farm === undefined || name === farm);
  return farms.flatMap((f) =>
    ['INVITE', 'REGISTER'].flatMap((method) => {
      const found = explain(f, requestFor(user, method, f), CLIENT, -1, seconds());
      return found ? [{ ...header(plan, f), request: `${method} ${user}`, went: [], ...found }] : [];
    }),
  );
}

/** Where a kept call would go now, beside where it went then. `redaction`: of the recorder that kept it. */
export function explainCall(plan: Plan | undefined, call: KeptCall, redaction: Redaction): DecisionView[] {
  const farm = plan?.farms.find(({ name }) => name === call.farm);
  const first = call.messages.find((m) => !m.sent);
  if (!plan || !farm || !first) return [];
  const went = [...new Set(call.messages.flatMap((m) => (m.sent && m.backend !== undefined ? [m.backend] : [])))];
  const request = first.bytes.toString('latin1').split(' SIP/2.0')[0] as string;
  const view = { ...header(plan, farm), request, went };
  if (isRedacted(farm, redaction)) {
    const { strategy, key } = farm;
    return [{ ...view, strategy, key: key.kind, bucket: null, candidates: [], notes: [UNKNOWN_KEY] }];
  }
  const source = farm.backends.findIndex(({ name }) => name === first.backend);
  const found = explain(farm, new Uint8Array(first.bytes), endpointOf(first.remote), source, seconds());
  return found ? [{ ...view, ...found }] : [];
}

const UNKNOWN_KEY =
  'the recorder hides what the farm goes by: ask for the user itself, by sipfleet explain --user USER';
const header = (plan: Plan, farm: FarmPlan) => ({ farm: farm.name, generation: plan.generation, etag: plan.etag });
const seconds = (): number => Math.floor(Date.now() / 1000);

function requestFor(user: string, method: string, farm: FarmPlan): Uint8Array {
  const uri = user.includes('@') ? `sip:${user}` : `sip:${user}@${farm.names[0] ?? farm.name}`;
  const lines = [
    `${method} ${method === 'REGISTER' ? `sip:${uri.split('@')[1]}` : uri} SIP/2.0`,
    'Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKexplain',
    `From: <${uri}>;tag=explain`,
    `To: <${uri}>`,
    'Call-ID: explain',
    `CSeq: 1 ${method}`,
    'Content-Length: 0',
  ];
  return new TextEncoder().encode(`${lines.join('\r\n')}\r\n\r\n`);
}

function endpointOf(text: string): Endpoint {
  const { words, port } = endOf(text);
  const [ip0, ip1, ip2, ip3] = words as [number, number, number, number];
  return { ...CLIENT, ip0, ip1, ip2, ip3, port };
}

/** What the farm goes by is not in a kept message any more. */
function isRedacted({ strategy, key: { kind, header } }: FarmPlan, { hashUsers, headers }: Redaction): boolean {
  if (strategy !== 'hash') return false;
  if (kind === 'header') return hashUsers || headers.includes(header);
  return hashUsers && (kind === 'user' || kind === 'from-user');
}
