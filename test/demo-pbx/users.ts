/** The users that every demo PBX knows. Passwords of a demonstration on one machine: they stand in the README and on the terminal. */
export const PHONES: Readonly<Record<string, string>> = { bonnie: 'bonnie-pass', clyde: 'clyde-pass' };

/** Simulated callers of `--traffic`. */
export const CALLERS: readonly string[] = Array.from({ length: 10 }, (_, i) => `caller-${i + 1}`);
export const callerPassword = (name: string): string => `${name}-pass`;

/** Extensions that answer and send back what they hear: `echo`, and `echo-1` … that `--traffic` dials, so that a hash by callee spreads its calls. */
export const ECHOES: readonly string[] = Array.from({ length: 10 }, (_, i) => `echo-${i + 1}`);
export const isEcho = (user: string): boolean => user === 'echo' || ECHOES.includes(user);

export const REALM = 'demo.sipfleet';

export function passwordOf(user: string): string | undefined {
  if (Object.hasOwn(PHONES, user)) return PHONES[user];
  return CALLERS.includes(user) ? callerPassword(user) : undefined;
}
