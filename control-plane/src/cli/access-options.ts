import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ControlPlaneOptions } from '../server.ts';
import { CliError } from './io.ts';

/** Options of `control-plane` that say who is let in, beside API tokens and join tokens. */
export interface AccessFlags {
  oidcIssuer?: string;
  oidcAudience: string;
  oidcRoleClaim: string;
  oidcRole?: Record<string, 'viewer' | 'operator' | 'admin'>;
  oidcSitesClaim: string;
  oidcSites: 'all' | 'none';
  iamJoin?: JoinRule[];
  iamAudience: string;
}

type JoinRule = NonNullable<ControlPlaneOptions['iam']>['rules'][number];

/** The role must be written out: a pattern over accounts or roles would let in whoever may name one. */
const ARN_PATTERN = /^arn:aws(?:-[a-z-]+)?:sts::\d{12}:assumed-role\/[\w+=,.@-]{1,64}\/(?:\*|[\w+=,.@-]{2,64})$/;

const ROLES = ['viewer', 'operator', 'admin'] as const;

function issuer(text: string): string {
  // The keys of the issuer decide who is let in: plain http only where it does not leave the machine.
  if (!/^(https:\/\/[^/]|http:\/\/(127\.0\.0\.1|localhost|\[::1\])[:/])/.test(text))
    throw new InvalidArgumentError('allowed: an https URL, as the provider writes it into iss');
  return text;
}

function roleOf(text: string, all: AccessFlags['oidcRole'] = {}): NonNullable<AccessFlags['oidcRole']> {
  const [value = '', role] = text.split('=');
  const found = ROLES.find((name) => name === role);
  if (value === '' || found === undefined)
    throw new InvalidArgumentError('allowed: VALUE=viewer, VALUE=operator or VALUE=admin');
  return { ...all, [value]: found };
}

function ruleOf(text: string, all: JoinRule[] = []): JoinRule[] {
  const [site = '', arn = ''] = text.split(/=(.*)/s);
  if (!/^[a-z0-9-]{1,63}$/.test(site) || !ARN_PATTERN.test(arn))
    throw new InvalidArgumentError(
      'allowed: SITE=arn:aws:sts::123456789012:assumed-role/ROLE/*, or with an instance id in place of *',
    );
  return [...all, { site, arn }];
}

export const accessOptions = (command: Command): Command =>
  command
    .addOption(
      new Option('--oidc-issuer <url>', 'also let in who has a JWT of this OpenID Connect provider').argParser(issuer),
    )
    .option('--oidc-audience <name>', 'what its JWTs must be for (aud)', 'sipfleet')
    .option('--oidc-role-claim <claim>', 'the claim that holds roles; a dot goes inside', 'roles')
    .addOption(
      new Option(
        '--oidc-role <value=role>',
        'a value of that claim and the role it gives; repeatable (default: the roles by their own names)',
      ).argParser(roleOf),
    )
    .option('--oidc-sites-claim <claim>', 'the claim that holds the sites that its holder may change', 'sites')
    .addOption(
      new Option('--oidc-sites <which>', 'what holds without that claim').choices(['all', 'none']).default('none'),
    )
    .addOption(
      new Option(
        '--iam-join <site=arn>',
        'let instances of an AWS role join a site without a token; repeatable',
      ).argParser(ruleOf),
    )
    .option('--iam-audience <name>', 'what their proofs must be for', 'sipfleet');

/** As the server takes them. */
export function accessOf(flags: AccessFlags): Pick<ControlPlaneOptions, 'oidc' | 'iam'> {
  const { oidcIssuer, iamJoin, iamAudience } = flags;
  if (oidcIssuer === undefined && flags.oidcRole !== undefined) throw new CliError('--oidc-role needs --oidc-issuer');
  return {
    ...(oidcIssuer === undefined
      ? {}
      : {
          oidc: {
            issuer: oidcIssuer,
            audience: flags.oidcAudience,
            roleClaim: flags.oidcRoleClaim,
            roles: flags.oidcRole ?? { viewer: 'viewer', operator: 'operator', admin: 'admin' },
            sitesClaim: flags.oidcSitesClaim,
            sitesDefault: flags.oidcSites,
          },
        }),
    ...(iamJoin === undefined ? {} : { iam: { audience: iamAudience, rules: iamJoin } }),
  };
}
