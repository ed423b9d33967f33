import { setPriority } from 'node:os';
import { setFlagsFromString } from 'node:v8';

/**
 * Who goes first where cores are scarce: messages before telemetry. Measured with everything on one core (docs/performance.md): the 99th
 * percentile of the added delay fell to a third.
 */

/**
 * To be called before any data thread starts. Helper threads of the garbage collector wait for a core while the data thread waits for them;
 * its heap is small (messages live outside of it), so it collects faster alone.
 */
export function collectGarbageAlone(): void {
  setFlagsFromString('--single-threaded-gc');
}

/** Nice values of Linux: threads have their own, and 0 as a process means the calling thread (setpriority(2)). */
const CONTROL = 10;
const DATA = 0;
const COPY = 15;

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
function tryPriority(nice: number): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(0, nice);
  } catch {}
}
