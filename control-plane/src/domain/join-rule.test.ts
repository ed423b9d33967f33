import { expect, test } from 'vitest';
import { ruleFor } from './join-rule.ts';

const arn = (role: string, session: string) => `arn:aws:sts::123456789012:assumed-role/${role}/${session}`;
const rules = [
  { site: 'milan', arn: arn('edge', 'i-1') },
  { site: 'rome', arn: arn('edge', '*') },
];

test.each([
  [arn('edge', 'i-1'), 'milan'],
  [arn('edge', 'i-2'), 'rome'],
  [arn('edge', '*'), 'rome'],
  [arn('edge2', 'i-1'), undefined],
  [arn('edge/x', 'i-1'), undefined],
  ['arn:aws:sts::999999999999:assumed-role/edge/i-1', undefined],
  ['arn:aws:iam::123456789012:user/edge', undefined],
])('%s → %s', (who, site) => {
  expect(ruleFor(rules, who)?.site).toBe(site);
});
