/** AWS list prices of us-east-1 in US dollars, July 2026, without any free tier. Other regions differ: put your own here. */
export const PRICES = {
  /** DynamoDB on demand. Stream reads by Lambda are free. */
  readUnits: 0.125 / 1e6,
  writeUnits: 0.625 / 1e6,
  /** API Gateway HTTP API: a request, up to 300 million a month; then. */
  httpRequests: 1.0 / 1e6,
  httpRequestsAfter: 300e6,
  httpRequestsThen: 0.9 / 1e6,
  /** API Gateway WebSocket API. */
  messages: 1.0 / 1e6,
  connectionMinutes: 0.25 / 1e6,
  /** Lambda on arm64. */
  invocations: 0.2 / 1e6,
  gigabyteSeconds: 0.0000133334,
  /** To the internet. */
  bytesOut: 0.09 / 1e9,
  /** A KMS key. */
  key: 1,
} as const;

/** What was not measured here: a machine without AWS cannot. */
export const ASSUMED = {
  /** Milliseconds of one function call: its three or four DynamoDB calls one after the other, some milliseconds each, and a little of its own. */
  callMs: 25,
  memoryGigabytes: 0.5,
  /** Changes of a farm that stands on all sites. */
  changesPerDay: 20,
  agentsPerSite: 20,
  /** Of an answer to a report, TLS and headers included. */
  answerBytes: 1000,
} as const;
