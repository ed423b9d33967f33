import { setPriority } from 'node:os';
import { loadLibc } from './transport/libc.ts';

/**
 * Who goes first where cores are scarce: messages before telemetry. Measured with everything on one core (docs/performance.md): the 99th
 * percentile of the added delay fell to a third. The garbage collector's helper threads are not given a nice value but done without: see bin/launch.js.
 */

/** Nice values of Linux: threads have their own, and 0 as a process means the calling thread (setpriority(2)). */
const CONTROL = 10;
const DATA = 0;
const COPY = 15;

/**
 * Nanoseconds that a thread asks to run at a stretch (EEVDF, from Linux 6.12 on; older kernels take no notice). Who asks for less is let in at once by
 * who asked for more: else a data thread that a datagram wakes waits for the end of the control thread's slice, 3 ms, whatever their nice values.
 */
const SLICE_NS = { [CONTROL]: 3_000_000, [DATA]: 200_000, [COPY]: 3_000_000 };

/** Called by the control thread once the data threads run; threads that it starts later would inherit it, see {@link takePrecedence}. */
export function givePrecedence(): void {
  tryPriority(CONTROL);
}

/** Called by a data thread at its start: one that replaces a dead thread was started by a control thread that has given way. */
export function takePrecedence(): void {
  tryPriority(DATA);
}

/** Called by a thread whose work may be left undone where cores are scarce: a copy of what passes for a HEP server. */
export function giveWay(): void {
  tryPriority(COPY);
}

/** Lowering is always allowed; raising again is not, without CAP_SYS_NICE: then it stays as it is, which costs delay and nothing else. */
function tryPriority(nice: keyof typeof SLICE_NS): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(0, nice);
    askForSlice(nice, SLICE_NS[nice]);
  } catch {}
}

/** sched_setattr(2) has no function in libc. */
const SCHED_SETATTR = { x64: 314, arm64: 274 } as const;

/** `struct sched_attr` of version 0: the size, SCHED_OTHER, no flags, the nice value once more, and the runtime. */
function askForSlice(nice: number, nanoseconds: number): void {
  const attributes = new DataView(new ArrayBuffer(48));
  attributes.setUint32(0, 48, true);
  attributes.setInt32(16, nice, true);
  attributes.setBigUint64(24, BigInt(nanoseconds), true);
  const call = SCHED_SETATTR[process.arch as keyof typeof SCHED_SETATTR];
  loadLibc()?.syscall(call, 0, new Uint8Array(attributes.buffer), 0);
}
