/** `GET /v1/jobs/{id}/logs`: any range of a job's output, or all of it as it comes. */
import Type, { type Static } from 'typebox';
import { MAX_RANGE_BYTES } from '../../../job/agent-port.ts';
import { SluiceError } from '../../../job/errors.ts';
import type { Job } from '../../../job/record.ts';
import type { JobStore } from '../../../store/jobs.ts';
import { visible } from '../../access.ts';
import type { Holds } from '../../holds.ts';
import type { Api } from '../../instance.ts';
import { lastEventId, openEventStream } from '../../sse.ts';
import { storeProblem } from '../../store-errors.ts';
import { createFollowOutput, type FollowDeps } from './logs-stream.ts';
import type { Wanted } from './output.ts';
import { JOB_PATH, JobParams } from './path.ts';

export interface LogsDeps extends FollowDeps {
  jobs: Pick<JobStore, 'get'>;
  holds: Holds;
  closing: AbortSignal;
}

const LogsQuery = Type.Object(
  {
    stream: Type.Unsafe<'stdout' | 'stderr'>({
      type: 'string',
      enum: ['stdout', 'stderr'],
      default: 'stdout',
      description: 'Which stream.',
    }),
    offset: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      default: 0,
      description: 'The first byte wanted, counted from 0.',
    }),
    limit: Type.Integer({
      minimum: 1,
      maximum: MAX_RANGE_BYTES,
      default: 262_144,
      description: 'At most so many bytes.',
    }),
    attempt: Type.Optional(
      Type.Integer({ minimum: 1, description: 'The attempt; by default the present one.' }),
    ),
  },
  { additionalProperties: false },
);

export function logsRoute(app: Api, deps: LogsDeps): void {
  const { jobs, readOutput, holds, closing } = deps;
  const follow = createFollowOutput(deps);

  app.get(
    `${JOB_PATH}/logs`,
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Jobs'],
        summary: "Read or follow a job's output",
        description:
          'The bytes as the agent has them. `X-Log-Offset` is where they begin, `X-Log-Next` the next offset to ask ' +
          'for, `X-Log-Complete` whether that is the end. Where the host is gone or has cleared up, the kept tail ' +
          'with `X-Log-Truncated` (`true` where earlier bytes are missing; also where the agent kept only the beginning ' +
          'and the end of a large output). With `Accept: text/event-stream` the ' +
          'output is followed to its end: `data` is `{"offset","data","encoding"?}`, `id` the next offset.',
        params: JobParams,
        querystring: LogsQuery,
        produces: ['text/plain', 'text/event-stream'],
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const job = visible(request.caller, id, await jobs.get(id));
      const wanted = wantedOf(job, request.query);
      if (!/\btext\/event-stream\b/.test(request.headers.accept ?? '')) {
        const range = await readOutput(job, wanted);
        reply
          .header('x-log-offset', range.offset)
          .header('x-log-next', range.next)
          .header('x-log-complete', String(range.complete))
          .type('text/plain; charset=utf-8');
        const isLater = range.offset > wanted.offset;
        if (range.kept || isLater) reply.header('x-log-truncated', String(isLater));
        return reply.send(range.data);
      }

      const offset = resumeAt(lastEventId(request)) ?? wanted.offset;
      const release = holds.take(request.caller.name);
      const stream = openEventStream(request, reply, { closing, onOver: release });
      try {
        await follow(job, { ...wanted, offset }, stream);
      } catch (error) {
        // The status is sent: the reason goes into the stream.
        const known = error instanceof SluiceError ? error : storeProblem(error, false);
        const code = known?.code ?? 'internal';
        request.log.info({ event: 'job.logs.ended', job: id, code }, 'a followed output ended early');
        stream.send({ event: 'error', data: { code } });
        stream.end();
      }
    },
  );
}

function wantedOf(
  job: Job,
  { attempt = Math.max(job.attempt, 1), ...range }: Static<typeof LogsQuery>,
): Wanted {
  if (attempt <= Math.max(job.attempt, 1)) return { ...range, attempt };
  throw new SluiceError('invalid_request', `${job.id} is in attempt ${job.attempt}`, {
    fields: { field: 'attempt' },
  });
}

function resumeAt(id: string | undefined): number | undefined {
  if (id === undefined) return undefined;
  if (/^\d{1,15}$/.test(id)) return Number(id);
  throw new SluiceError('invalid_request', 'Last-Event-ID must be an offset', {
    fields: { field: 'Last-Event-ID' },
  });
}
