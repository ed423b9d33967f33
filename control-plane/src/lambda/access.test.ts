import { expect, test } from 'vitest';
import { accessOf } from './access.ts';

test('nothing set: tokens alone', () => {
  const none = { oidc: undefined, iam: undefined };
  expect(accessOf({})).toEqual(none);
  expect(accessOf({ SIPFLEET_OIDC: '', SIPFLEET_IAM_JOIN: '' })).toEqual(none);
});

test('what is set is let in as on one box', () => {
  const rules = [{ site: 'milan', arn: 'arn:aws:sts::123456789012:assumed-role/edge/*' }];
  const access = accessOf({
    SIPFLEET_OIDC: '{"issuer":"https://login.example.com"}',
    SIPFLEET_IAM_JOIN: JSON.stringify({ rules }),
  });
  expect(access.iam).toMatchObject({ audience: 'sipfleet', rules });
  expect(access.oidc).toHaveProperty('verify');
});

test.each([
  ['SIPFLEET_OIDC', '{'],
  ['SIPFLEET_OIDC', '{"issuer":"http://login.example.com"}'],
  ['SIPFLEET_OIDC', '{"issuer":"https://l.example","roles":{"a":"root"}}'],
  ['SIPFLEET_IAM_JOIN', '{"rules":[]}'],
])('%s=%s is an error that names it', (name, text) => {
  expect(() => accessOf({ [name]: text })).toThrow(`the environment variable ${name} is not understood`);
});
