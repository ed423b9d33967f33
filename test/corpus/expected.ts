import type { Answered, Forwarded, Response } from './corpus.ts';

/** Shorthands in which the manifests are written. */

export const forwarded = (
  vias: number,
  hops: number,
  rest: { body?: number; gains?: readonly string[] } = {},
): Forwarded => ({ outcome: 'forwarded', vias, hops, body: rest.body ?? 0, gains: rest.gains ?? [] });

export const answered = (status: number, ...lines: string[]): Answered => ({ outcome: 'answered', status, lines });

export const response = (ours: Response['ours'], then: Response['then']): Response => ({
  outcome: 'response',
  ours,
  then,
});

/** What an INVITE outside of a dialog gains, and a REGISTER without `Supported: path` in registration mode `path`. */
export const DIALOG = ['Record-Route'];
export const REGISTRATION = ['Path', 'Supported'];
