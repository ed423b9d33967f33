/** Which instances may join a site by their IAM role alone. */
export interface JoinRule {
  readonly name: string;
  readonly site: string;
  /** As STS names who asks: `arn:aws:sts::123456789012:assumed-role/ROLE/SESSION`; a SESSION of `*` is any instance of the role. */
  readonly arn: string;
  readonly createdAt: string;
}

/** The role must be written out: a pattern over accounts or roles would let in whoever may name one. */
export const ARN_PATTERN = /^arn:aws(?:-[a-z-]+)?:sts::\d{12}:assumed-role\/[\w+=,.@-]{1,64}\/(?:\*|[\w+=,.@-]{2,64})$/;

/** The first rule, by name, that an identity fits. */
export function ruleFor(rules: readonly JoinRule[], arn: string): JoinRule | undefined {
  const fits = (pattern: string) =>
    pattern.endsWith('/*') ? arn.slice(0, arn.lastIndexOf('/') + 1) === pattern.slice(0, -1) : arn === pattern;
  return rules.toSorted((a, b) => (a.name < b.name ? -1 : 1)).find((rule) => fits(rule.arn));
}
