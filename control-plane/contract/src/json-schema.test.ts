import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { resourceJsonSchema } from './json-schema.ts';

const examples = join(import.meta.dirname, '..', '..', '..', 'infra', 'examples');
const schema = z.fromJSONSchema(resourceJsonSchema() as never);

const files = readdirSync(examples).filter((name) => name.endsWith('.yaml'));
test.each(files)('%s names the schema in its first line and follows it', (name) => {
  const text = readFileSync(join(examples, name), 'utf8');
  expect(text.split('\n')[0]).toBe('# yaml-language-server: $schema=sipfleet.schema.json');
  const documents = parseAllDocuments(text).map((document) => document.toJS());
  expect(documents.length).toBeGreaterThan(0);
  for (const document of documents) expect(schema.safeParse(document).error).toBeUndefined();
});

test('the file beside the examples is the schema as it is (npx sipfleet schema > infra/examples/sipfleet.schema.json, npm run format)', () => {
  expect(JSON.parse(readFileSync(join(examples, 'sipfleet.schema.json'), 'utf8'))).toEqual(resourceJsonSchema());
});

const farm = {
  kind: 'Farm',
  name: 'pbx',
  sites: ['milan'],
  listeners: [{ transport: 'udp', port: 5060 }],
  backends: [{ name: 'pbx1', address: '10.0.0.11' }],
};

test.each([
  ['an unknown kind', { kind: 'Barn', name: 'x' }],
  ['an unknown field', { ...farm, vips: {} }],
  ['a field that is not built yet', { ...farm, security: {} }],
  ['a missing field', { kind: 'Farm', name: 'pbx' }],
  ['a port that is none', { ...farm, listeners: [{ transport: 'udp', port: 70_000 }] }],
  ['a duration without its unit', { ...farm, checks: [{ name: 'ping', type: 'options', interval: '5' }] }],
])('%s is found by an editor', (_, document) => {
  expect(schema.safeParse(farm).success).toBe(true);
  expect(schema.safeParse(document).success).toBe(false);
});
