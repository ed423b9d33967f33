/** Examples of the OpenAPI document, as data: what a request holds and what its answer does. app.test.ts reads each by its schema. */

export interface Example {
  readonly request?: unknown;
  readonly answer?: unknown;
}

const AT = '2026-11-24T05:40:00.000Z';
const ETAG = '6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b';
const HASH = 'd4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35';
const POINT = '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo';
const AGENT = 'agt_k3v9q2m7x4c8p1t6w5z0';

const site = { kind: 'Site', name: 'milan', description: 'Via Caldera, hall 3' };
const farm = {
  kind: 'Farm',
  name: 'pbx',
  sites: ['milan'],
  listeners: [{ transport: 'udp', address: '10.0.1.5', port: 5060 }],
  backends: [
    { name: 'pbx1', address: '10.0.0.11', weight: 10 },
    { name: 'pbx2', address: '10.0.0.12', weight: 10 },
  ],
};
const secretView = {
  kind: 'Secret',
  name: 'pbx-check',
  fingerprints: { username: '9f2c41d07ab36e58', password: '51b7c0e2d94f8a36' },
};
const stored = (spec: object) => ({ spec, revision: 7, updatedAt: AT });

const blastRadius = {
  sites: ['milan'],
  agents: 3,
  unknown: ['edge-3'],
  calls: 41,
  registrations: 1250,
  farms: [{ farm: 'pbx', calls: 41, registrations: 1250 }],
};
const fields = [{ field: 'backends[pbx1].weight', from: '10', to: '5' }];
const dryRun = (kind: string, name: string) => ({
  dryRun: true,
  changes: [{ kind, name, action: 'delete', revision: 7, fields: [] }],
  blastRadius,
});
const changes = { revision: 8, changes: [{ status: 'updated', kind: 'Farm', name: 'pbx', revision: 8 }] };
const version = (spec: object) => ({ items: [{ revision: 7, at: AT, actor: 'ci', action: 'update', spec }] });
const diff = (kind: string, name: string) => ({ kind, name, from: 3, to: 7, fields });

const snapshotStatus = { status: 'APPLIED', etag: ETAG, generation: 7, running: ETAG };
const backend = { farm: 'pbx', backend: 'pbx1', state: 'down', since: AT, reason: '3 probes without an answer in 2s' };
const checkReport = {
  farm: 'pbx',
  backend: 'pbx1',
  check: 'dummy-call',
  state: 'down',
  result: 'failure',
  phase: 'invite',
  evidence: '503 Service Unavailable after 12 ms',
  seconds: 0.012,
  at: AT,
};
const rollout = {
  number: 8,
  state: 'running',
  actor: 'ci',
  openedAt: AT,
  farms: ['pbx'],
  sites: ['milan'],
  stages: ['1', '10%', '50%', '100%'],
  scope: 'fleet',
  stage: 0,
  bake: '5m',
  bakeEndsAt: '2026-11-24T05:45:00.000Z',
  reason: null,
  agents: { total: 30, moved: 1, applied: 1, waiting: [] },
  gate: [
    {
      measure: 'sessions refused',
      moved: { n: 120, bad: 1 },
      others: { n: 3480, bad: 20 },
      strength: 0.2,
      haltsAt: 20,
    },
  ],
  events: [{ at: AT, text: 'stage 1 of 4: 1 agent' }],
};
const token = {
  id: 'd4735e3a265e',
  name: 'ci-milan',
  role: 'operator',
  sites: ['milan'],
  createdAt: AT,
  expiresAt: '2027-02-22T05:40:00.000Z',
};
const signingKey = { sequence: 2, x: POINT, createdAt: AT };

const resource = (collection: string, name: string, spec: object, answer = spec): Record<string, Example> => ({
  [`put /v1/${collection}/{name}`]: { request: spec, answer: stored(answer) },
  [`get /v1/${collection}/{name}`]: { answer: stored(answer) },
  [`get /v1/${collection}`]: { answer: { items: [stored(answer)], cursor: 'RmFybQpwYng' } },
  [`delete /v1/${collection}/{name}`]: { answer: dryRun((spec as { kind: string }).kind, name) },
  [`get /v1/${collection}/{name}/history`]: { answer: version(answer) },
  [`get /v1/${collection}/{name}/diff`]: { answer: diff((spec as { kind: string }).kind, name) },
});

/** By method and path. */
export const EXAMPLES: Readonly<Record<string, Example>> = {
  'get /healthz': { answer: { status: 'ok' } },
  ...resource('sites', 'milan', site),
  ...resource('farms', 'pbx', farm),
  ...resource(
    'secrets',
    'pbx-check',
    { kind: 'Secret', name: 'pbx-check', data: { username: '30', password: 'secret' } },
    secretView,
  ),
  'post /v1/changes': {
    request: {
      changes: [
        { action: 'delete', kind: 'Farm', name: 'old', revision: 4 },
        { action: 'put', revision: 7, resource: farm },
      ],
    },
    answer: changes,
  },
  'get /v1/revisions': {
    answer: {
      items: [
        {
          revision: 7,
          at: AT,
          actor: 'ci',
          source: 'sipfleet',
          changes: [{ action: 'update', kind: 'Farm', name: 'pbx' }],
        },
      ],
    },
  },
  'get /v1/audit': {
    answer: {
      items: [
        {
          sequence: 9,
          id: '0f8fad5bd9cb469fa16570867728950e',
          at: AT,
          actor: 'ci',
          source: 'sipfleet',
          action: 'change',
          revision: 7,
          changes: [{ action: 'update', kind: 'Farm', name: 'pbx', from: 3, sha256: HASH }],
          details: {},
          previous: ETAG,
          hash: HASH,
        },
      ],
      head: { sequence: 9, hash: HASH },
    },
  },
  'get /v1/agents/{id}/drift': {
    answer: {
      agentId: AGENT,
      name: 'edge-1',
      site: 'milan',
      drift: 'refused',
      reason: 'port 5060 of 10.0.1.5 is taken',
      running: { etag: HASH, generation: 3 },
      target: { etag: ETAG, generation: 7 },
      fields,
    },
  },
  'get /v1/schema.json': { answer: { $schema: 'http://json-schema.org/draft-07/schema#', oneOf: [] } },
  'post /v1/plan': {
    request: { resources: [site, farm], delete: [{ kind: 'Farm', name: 'old' }] },
    answer: { changes: [{ kind: 'Farm', name: 'pbx', action: 'update', revision: 7 }], blastRadius },
  },
  'post /v1/join-tokens': {
    request: { site: 'milan', ttl: '1h' },
    answer: { token: 'sfj_…', site: 'milan', expiresAt: AT },
  },
  'get /v1/tokens': { answer: { items: [token] } },
  'post /v1/tokens': {
    request: { name: 'ci-milan', role: 'operator', sites: ['milan'], ttl: '90d' },
    answer: { ...token, token: 'sft_…' },
  },
  'post /v1/agents/enrol': {
    request: {
      joinToken: 'sfj_…',
      name: 'edge-1',
      publicKey: { kty: 'OKP', crv: 'Ed25519', x: POINT },
      sealKey: { kty: 'OKP', crv: 'X25519', x: POINT },
      version: '0.1.0',
    },
    answer: { agentId: AGENT, number: 1, site: 'milan', signingKey: { sequence: 1, x: POINT } },
  },
  'get /v1/agents': {
    answer: {
      items: [
        {
          agentId: AGENT,
          number: 1,
          name: 'edge-1',
          site: 'milan',
          version: '0.1.0',
          connected: true,
          firstSeenAt: AT,
          lastReportAt: AT,
          snapshot: snapshotStatus,
          target: { site: 'milan', generation: 7, etag: ETAG },
          drift: 'none',
          backends: [backend],
        },
      ],
    },
  },
  'get /v1/agent/snapshot': {
    answer: {
      format: 1,
      site: 'milan',
      generation: 7,
      farms: [{ spec: farm, revision: 7, tokenKeys: [{ id: 1, key: '0'.repeat(32) }] }],
    },
  },
  'post /v1/agent/report': {
    request: { version: '0.1.0', uptimeSeconds: 86_400, snapshot: snapshotStatus, backends: [backend] },
    answer: { site: 'milan', generation: 7, etag: ETAG },
  },
  'get /v1/agent/schedule': {
    answer: {
      format: 1,
      site: 'milan',
      checks: [{ farm: 'pbx', backend: 'pbx1', check: 'dummy-call', periodMs: 240_000, phaseMs: 31_000 }],
      verdicts: [],
      disagreements: [],
    },
  },
  'get /v1/checks': {
    answer: {
      items: [
        {
          farm: 'pbx',
          backend: 'pbx1',
          check: 'dummy-call',
          type: 'call',
          interval: '2m',
          agents: [
            {
              agentId: AGENT,
              name: 'edge-1',
              site: 'milan',
              alive: true,
              periodMs: 240_000,
              phaseMs: 31_000,
              last: checkReport,
            },
          ],
        },
      ],
    },
  },
  'get /v1/backends': {
    answer: {
      items: [
        {
          site: 'milan',
          farm: 'pbx',
          backend: 'pbx1',
          up: 2,
          down: 1,
          unknown: 0,
          agree: false,
          agents: [{ agent: 'edge-1', state: 'down', since: AT, reason: '3 probes without an answer in 2s' }],
        },
      ],
    },
  },
  'post /v1/checks/{farm}/{backend}/{check}/run': { answer: { agent: 'edge-1', site: 'milan', report: checkReport } },
  'post /v1/agent/check-results': { request: { id: '42', report: checkReport } },
  'get /v1/agent/secrets': {
    answer: {
      format: 1,
      agentId: AGENT,
      recipientKey: POINT,
      secrets: { 'pbx-check': 7 },
      ephemeralKey: POINT,
      box: '…',
    },
  },
  'get /v1/agent/keys': { answer: { keys: [{ sequence: 1, x: POINT, signature: '…' }] } },
  'put /v1/agent/key': { request: { publicKey: { kty: 'OKP', crv: 'Ed25519', x: POINT }, proof: '…' } },
  'put /v1/agent/keys': { request: { sealKey: { kty: 'OKP', crv: 'X25519', x: POINT } } },
  'get /v1/rollouts': { answer: { items: [rollout] } },
  'get /v1/rollouts/{number}': { answer: rollout },
  'post /v1/rollouts/{number}/pause': { answer: { ...rollout, state: 'paused' } },
  'post /v1/rollouts/{number}/resume': { answer: rollout },
  'post /v1/rollouts/{number}/abort': {
    answer: { ...rollout, state: 'rolled-back', reason: 'aborted by ci', agents: null, gate: null },
  },
  'post /v1/rollbacks': { request: { to: 6 }, answer: { ...changes, to: 6, left: [] } },
  'get /v1/signing-keys': { answer: { items: [signingKey] } },
  'post /v1/signing-keys': { answer: signingKey },
};
