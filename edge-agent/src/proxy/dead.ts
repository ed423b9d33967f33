import type { Endpoint } from '../ports.ts';
import { sameEndpoint } from '../sip/endpoint.ts';
import type { Context } from './context.ts';
import { attemptFailed } from './failover.ts';
import type { FarmRuntime } from './runtime.ts';

/**
 * Backends found dead from outside of an exchange: ICMP, a connection that was refused or lost, a verdict with `cutConnections`. What hopes
 * for an answer of theirs is tried elsewhere at once, instead of after a silence.
 */

/** What kinds of attempts are given up: those that got nothing at all, or also those that got a provisional response. */
export const GIVE_UP = { silent: false, all: true } as const;

/** Carries out what the control thread ordered since the last time. Cheap where it ordered nothing. */
export function obey(ctx: Context): void {
  for (const farm of ctx.runtime.farms) {
    if (farm.signals.epoch === farm.obeyed.epoch) continue;
    farm.obeyed.epoch = farm.signals.epoch;
    for (let b = 0; b < farm.backends.length; b++) obeyFor(ctx, farm, b);
  }
}

function obeyFor(ctx: Context, farm: FarmRuntime, backend: number): void {
  const { signals, obeyed } = farm;
  const { endpoint } = farm.backends[backend]!;
  const refused = signals.orders(backend, 'refused');
  const cut = signals.orders(backend, 'cut');
  if (refused !== obeyed.refused[backend]) giveUp(ctx, endpoint, GIVE_UP.silent, true);
  if (cut !== obeyed.cut[backend]) {
    ctx.output.cut(farm, backend);
    giveUp(ctx, endpoint, GIVE_UP.all, true);
  }
  obeyed.refused[backend] = refused;
  obeyed.cut[backend] = cut;
}

/** A connection to `to` could not be opened (`refused`), or has ended. */
export function unreachable(ctx: Context, to: Readonly<Endpoint>, refused: boolean): void {
  for (const farm of ctx.runtime.farms)
    for (let b = 0; b < farm.backends.length; b++)
      if (refused && sameEndpoint(farm.backends[b]!.endpoint, to)) farm.signals.saw(b, 'refused');
  giveUp(ctx, to, GIVE_UP.silent, refused);
}

/** Compared by address: an exchange may have begun under a plan that numbered backends otherwise. */
function giveUp(ctx: Context, dead: Readonly<Endpoint>, provisionalsToo: boolean, refused: boolean): void {
  if (ctx.exchanges === undefined) return;
  for (const exchange of ctx.exchanges.open()) {
    if (exchange.count === 0 || exchange.finalStatus > 0 || exchange.cancelled) continue;
    const { backend, state } = exchange.current;
    if (backend < 0 || !sameEndpoint(exchange.listener.farm.backends[backend]!.endpoint, dead)) continue;
    if (state === 'calling' || state === 'trying' || (provisionalsToo && state === 'proceeding'))
      attemptFailed(ctx, exchange, refused);
  }
}
