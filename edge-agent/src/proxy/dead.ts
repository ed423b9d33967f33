import { type Endpoint, TRANSPORT } from '../ports.ts';
import { sameAddress, sameEndpoint } from '../sip/endpoint.ts';
import { repeat, sendAgain } from './attempt.ts';
import { type Context, HOP } from './context.ts';
import type { Exchange } from './exchange.ts';
import { attemptFailed } from './failover.ts';
import type { Backend, FarmRuntime } from './runtime.ts';

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
  if (to.transport === TRANSPORT.tcp) endLargeByTcp(ctx, to, refused);
  for (const farm of ctx.runtime.farms)
    for (let b = 0; b < farm.backends.length; b++)
      if (refused && sameEndpoint(farm.backends[b]!.endpoint, to)) farm.signals.saw(b, 'refused');
  giveUp(ctx, to, GIVE_UP.silent, refused);
}

/**
 * TCP that was tried because a request is too large for a datagram: it goes by UDP after all where TCP is refused, or does not hold (RFC 3261 §18.1.1),
 * and so do others for a while. That says nothing against the backend.
 */
function endLargeByTcp(ctx: Context, to: Readonly<Endpoint>, refused: boolean): void {
  const now = ctx.output.seconds();
  const switches = ({ plan, endpoint }: Backend) => plan.tcpAbove > 0 && sameAddress(endpoint, to);
  if (refused)
    for (const farm of ctx.runtime.farms)
      for (const backend of farm.backends) if (switches(backend)) backend.tcpRefusedAt = now;
  for (const exchange of ctx.exchanges?.open() ?? []) {
    if (exchange.count === 0 || exchange.finalStatus > 0 || exchange.cancelled) continue;
    const { backend, state, redialed, repeats } = exchange.current;
    if (repeats) continue;
    const chosen = exchange.listener.farm.backends[backend];
    if (chosen === undefined || !switches(chosen) || (state !== 'calling' && state !== 'trying')) continue;
    if (!refused && !redialed) attemptFailed(ctx, exchange, false);
    else {
      chosen.tcpRefusedAt = now;
      sendByUdp(ctx, exchange);
    }
  }
}

function sendByUdp(ctx: Context, exchange: Exchange): void {
  ctx.tape.call = exchange.call;
  sendAgain(ctx, exchange, exchange.current, HOP.request);
  repeat(ctx, exchange, exchange.current);
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
