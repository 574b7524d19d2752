/** When a delivery is tried next, and when it is dead. Pure. */
import type { Reply } from '../../net/webhook.ts';
import type { Verdict } from '../../store/deliveries.ts';

export interface Schedule {
  /** The pauses after failed attempts, in seconds; one more failure after the last of them is the end. */
  pausesSeconds: readonly number[];
  /** Between 0 and 1. */
  random: () => number;
}

/** The longest `Retry-After` that is obeyed: a receiver's mistake must not hold a delivery up for a year. */
const MAX_RETRY_AFTER_MS = 3_600_000;
/** How far a pause may stray from its length, so that what failed together is not tried again together. */
const JITTER = 0.1;

export function isDelivered({ status }: Pick<Reply, 'status'>): boolean {
  return status !== null && status >= 200 && status < 300;
}

/** `410 Gone`: the receiver never wants to hear of it again. */
export function isGone({ status }: Pick<Reply, 'status'>): boolean {
  return status === 410;
}

/** @param tries attempts before this one, since the delivery was made or sent again */
export function judge(
  reply: Pick<Reply, 'status' | 'retryAfterMs'>,
  tries: number,
  schedule: Schedule,
): Verdict {
  if (isDelivered(reply)) return { kind: 'delivered' };
  if (isGone(reply)) return { kind: 'dead', reason: 'the receiver answered 410 Gone' };
  const pause = schedule.pausesSeconds[tries];
  if (pause === undefined) return { kind: 'dead', reason: `all ${tries + 1} attempts failed` };
  const jittered = pause * 1000 * (1 + JITTER * (2 * schedule.random() - 1));
  const asked = Math.min(reply.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
  return { kind: 'retry', delayMs: Math.max(jittered, asked) };
}
