/** Who asks is not known (401) or may not do this (403). The message is fit to be sent. */
export class AuthError extends Error {
  readonly code = 'AUTH';
  readonly status: 401 | 403;
  constructor(status: 401 | 403, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AuthError';
    this.status = status;
  }
}

/** The token of `Authorization: Bearer …` (RFC 6750 §2.1). */
export function bearerOf(header: string | undefined, wanted: string): string {
  const token = /^Bearer +([\w.~+/=-]+) *$/i.exec(header ?? '')?.[1];
  if (token === undefined)
    throw new AuthError(
      401,
      `no ${wanted}: send "Authorization: Bearer" with one${header === undefined ? '' : '; the header is not of that form'}`,
    );
  return token;
}
