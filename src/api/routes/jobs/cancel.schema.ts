/** What a cancel asks for. */
import Type, { type Static } from 'typebox';
import type { CancelOrder } from '../../../job/record.ts';

/** Those that every host knows: a name with a slip in it would make a cancel that is never done. */
const SIGNALS =
  'HUP|INT|QUIT|ILL|TRAP|ABRT|BUS|FPE|KILL|USR1|SEGV|USR2|PIPE|ALRM|TERM|CHLD|CONT|STOP|TSTP|TTIN|TTOU|URG|XCPU|XFSZ|' +
  'VTALRM|PROF|WINCH|IO|PWR|SYS';

export const CancelFields = {
  signal: Type.String({
    pattern: `^(SIG)?(${SIGNALS})$`,
    default: 'TERM',
    description:
      "The first signal's name; what is left after the grace gets KILL. Of a job that is `canceling`, only KILL or a " +
      'grace of 0 changes anything: it ends the grace of the cancel before.',
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
