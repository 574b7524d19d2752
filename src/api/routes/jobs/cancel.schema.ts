/** What a cancel asks for. */
import Type, { type Static } from 'typebox';
import type { CancelOrder } from '../../../job/record.ts';

export const CancelFields = {
  signal: Type.String({
    pattern: '^[A-Z][A-Z0-9+-]{0,15}$',
    default: 'TERM',
    description: "The first signal's name without SIG; what is left after the grace gets KILL.",
  }),
  grace_seconds: Type.Integer({
    minimum: 0,
    maximum: 600,
    default: 10,
    description: 'Seconds between the signal and KILL.',
  }),
  reason: Type.Optional(
    Type.Unsafe<string | null>({
      type: ['string', 'null'],
      maxLength: 500,
      description: "Why, for people; shown in the job's events.",
    }),
  ),
};

export const CancelBody = Type.Object(CancelFields, { additionalProperties: false });

export function cancelOrder({ signal, grace_seconds, reason }: Static<typeof CancelBody>): CancelOrder {
  return { signal: signal.replace(/^SIG/, ''), grace_seconds, reason: reason ?? null };
}
