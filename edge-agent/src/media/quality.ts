import type { ReceiverReport } from './rtp.ts';

/** What audio must come back as. An empty object asks for nothing but packets. */
export interface AudioBounds {
  /** dBFS; audio below it counts as silence. */
  minLevelDb?: number;
  /** Share of packets that may be lost, 0–1. */
  maxLoss?: number;
  /** Milliseconds of interarrival jitter (RFC 3550 §6.4.1). */
  maxJitterMs?: number;
}

/** Audio of a call, both ways. */
export interface AudioReport extends ReceiverReport {
  /** RTP packets sent. */
  sent: number;
  /** RTP packets that came before the answer: ringback or an announcement. */
  early: number;
  /** Mean level of what came after the answer, dBFS: 0 is the loudest; undefined without packets. */
  levelDb?: number;
}

/** Least share of what was sent that has to come back for the audio to count as two-way. */
const LEAST_RETURN = 0.1;

/**
 * Why the audio does not satisfy the bounds; undefined where it does.
 *
 * @example audioFault({ ...report, sent: 150, received: 0 }, {}) // 'one-way audio: 150 packets sent, none received'
 */
export function audioFault(audio: AudioReport, bounds: AudioBounds): string | undefined {
  if (audio.received === 0)
    return audio.sent === 0
      ? 'no audio in either direction'
      : `one-way audio: ${audio.sent} packets sent, none received`;
  if (audio.received < audio.sent * LEAST_RETURN)
    return `one-way audio: ${audio.sent} packets sent, only ${audio.received} received`;
  if (bounds.maxLoss !== undefined && audio.loss > bounds.maxLoss)
    return `${percent(audio.loss)} of the packets lost, at most ${percent(bounds.maxLoss)} allowed`;
  if (bounds.maxJitterMs !== undefined && audio.jitterMs > bounds.maxJitterMs)
    return `jitter ${audio.jitterMs.toFixed(1)} ms, at most ${bounds.maxJitterMs} ms allowed`;
  const level = audio.levelDb ?? Number.NEGATIVE_INFINITY;
  if (bounds.minLevelDb !== undefined && level < bounds.minLevelDb)
    return `silence: ${level.toFixed(1)} dBFS received, at least ${bounds.minLevelDb} dBFS asked for`;
  return undefined;
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

/** Power of the samples received, as the mean over all of them. */
export class LevelMeter {
  #sum = 0;
  #count = 0;

  add(samples: Int16Array): void {
    for (const sample of samples) this.#sum += sample * sample;
    this.#count += samples.length;
  }

  /** RMS level in dBFS, where a square wave of full scale is 0; digital silence is held at −96; undefined without samples. */
  get levelDb(): number | undefined {
    if (this.#count === 0) return undefined;
    const rms = Math.sqrt(this.#sum / this.#count) / 32768;
    return Math.max(-96, 20 * Math.log10(rms || Number.MIN_VALUE));
  }
}
