/** The body of `POST /v1/jobs:adopt`: those fields of a job that still mean something once it was started. */
import Type, { type Static } from 'typebox';
import { SubmitBody } from './submit.schema.ts';

export const AdoptBody = Type.Object(
  {
    agent_job_id: Type.String({
      minLength: 1,
      maxLength: 128,
      pattern: '^[\\x21-\\x7e]+$',
      description: 'The id under which its agent knows the job.',
    }),
    ...Type.Pick(SubmitBody, [
      'target_server',
      'mode',
      'job_user',
      'labels',
      'lost_after_seconds',
      'poll_interval',
      'callback_url',
    ]).properties,
  },
  { additionalProperties: false },
);
export type AdoptBody = Static<typeof AdoptBody>;
