import { explain } from './balancer/explain.ts';
import type { FarmPlan, Plan } from './plan.ts';
import type { Endpoint } from './ports.ts';
import { wordsOf } from './sip/host.ts';
import type { DecisionView } from './telemetry/admin-calls.ts';
import type { KeptCall } from './telemetry/recorder/kept-call.ts';

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

/** Where a kept call would go now, beside where it went then. */
export function explainCall(plan: Plan | undefined, call: KeptCall): DecisionView[] {
  const farm = plan?.farms.find(({ name }) => name === call.farm);
  const first = call.messages.find((m) => !m.sent);
  if (!plan || !farm || !first) return [];
  const source = farm.backends.findIndex(({ name }) => name === first.backend);
  const found = explain(farm, new Uint8Array(first.bytes), endpointOf(first.remote), source, seconds());
  if (!found) return [];
  const went = [...new Set(call.messages.flatMap((m) => (m.sent && m.backend !== undefined ? [m.backend] : [])))];
  const request = first.bytes.toString('latin1').split(' SIP/2.0')[0] as string;
  return [{ ...header(plan, farm), request, went, ...found }];
}

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
  const colon = text.lastIndexOf(':');
  const words = wordsOf(text.slice(0, colon).replace(/^\[|\]$/g, ''));
  if (!words) return CLIENT;
  const [ip0, ip1, ip2, ip3] = [...words] as [number, number, number, number];
  return { ...CLIENT, ip0, ip1, ip2, ip3, port: Number(text.slice(colon + 1)) };
}
