/** Which instances may join a site by their IAM role alone. */
export interface JoinRule {
  readonly site: string;
  /** As STS names who asks: `arn:aws:sts::123456789012:assumed-role/ROLE/SESSION`; a SESSION of `*` is any instance of the role. */
  readonly arn: string;
}

/** The first rule that an identity fits. */
export function ruleFor(rules: readonly JoinRule[], arn: string): JoinRule | undefined {
  const fits = (pattern: string) =>
    pattern.endsWith('/*') ? arn.slice(0, arn.lastIndexOf('/') + 1) === pattern.slice(0, -1) : arn === pattern;
  return rules.find((rule) => fits(rule.arn));
}
