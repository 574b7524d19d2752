/**
 * `POST /v1/jobs:cancel`: cancels what a filter finds, a bounded number with each request; the caller goes on
 * with `page_token` until there is none. Without a filter nothing is canceled: an empty body is more often a
 * mistake than the wish to stop a fleet.
 */
import Type from 'typebox';
import { SluiceError } from '../../../job/errors.ts';
import type { Job } from '../../../job/record.ts';
import { isOver, STATES, type State } from '../../../job/states.ts';
import type { HostStore } from '../../../store/hosts.ts';
import type { Cancel } from '../../../store/jobs/cancel.ts';
import type { JobStore } from '../../../store/jobs.ts';
import type { Api } from '../../instance.ts';
import type { PageTokens } from '../../page-tokens.ts';
import { CancelFields, cancelOrder } from './cancel.schema.ts';
import { FilterFields, PageFields, toJobFilter } from './filter.ts';

export interface CancelManyDeps {
  jobs: Pick<JobStore, 'list'>;
  hosts: Pick<HostStore, 'resolve'>;
  cancelJob: Cancel;
  pageTokens: PageTokens;
}

/** How many are canceled at once: a cancel is two or three commands of Redis. */
const SIDE_BY_SIDE = 20;
const NOT_OVER = STATES.filter((state) => !isOver(state));

const CancelManyBody = Type.Object(
  {
    ...FilterFields,
    ...PageFields,
    ...CancelFields,
    dry_run: Type.Boolean({ default: false, description: 'Only list what would be canceled.' }),
  },
  { additionalProperties: false },
);

const Result = Type.Object({
  id: Type.String(),
  host: Type.String(),
  state: Type.String({ description: 'The state now.' }),
  result: Type.String({
    description: '`canceled`, `canceling`, `over` (it had just ended) or, with `dry_run`, `would_cancel`.',
  }),
});
type Result = Type.Static<typeof Result>;

export function cancelManyRoute(app: Api, { jobs, hosts, cancelJob, pageTokens }: CancelManyDeps): void {
  app.post(
    '/v1/jobs::cancel',
    {
      config: { scope: 'jobs:cancel', audit: 'job.cancel_many' },
      schema: {
        tags: ['Jobs'],
        summary: 'Cancel the jobs that a filter finds',
        description:
          'At most `page_size` with each request; go on with `next_page_token` until it is null. At least one ' +
          'filter is required. Without `state` all jobs are meant that are not over.',
        body: CancelManyBody,
        response: {
          200: Type.Object({
            items: Type.Array(Result),
            next_page_token: Type.Unsafe<string | null>({ type: ['string', 'null'] }),
          }),
        },
      },
    },
    async (request) => {
      const { signal, grace_seconds, reason, dry_run, page_size, page_token, ...filters } = request.body;
      if (Object.keys(filters).length === 0) throw noFilter();
      const filter = await toJobFilter(filters, request.caller, hosts);
      filter.state ??= NOT_OVER as State[];
      const after = pageTokens.read(page_token, ['cancel', filter]);
      const page = await jobs.list(filter, { size: page_size, ...(after !== undefined && { after }) });
      const order = cancelOrder({ signal, grace_seconds, reason: reason ?? null });
      const items = dry_run
        ? page.jobs.map((job) => result(job, 'would_cancel'))
        : await inBatches(page.jobs, async (job) => {
            const done = await cancelJob(job.id, order, request.caller.name);
            return done ? [result(done.job, done.kind)] : [];
          });
      Object.assign(request.audited, { filter, dry_run, jobs: items.length });
      return { items, next_page_token: pageTokens.issue(page.after, ['cancel', filter]) };
    },
  );
}

function result({ id, host, state }: Job, word: string): Result {
  return { id, host, state, result: word };
}

async function inBatches(jobs: Job[], cancel: (job: Job) => Promise<Result[]>): Promise<Result[]> {
  const results: Result[] = [];
  for (let i = 0; i < jobs.length; i += SIDE_BY_SIDE) {
    const batch = await Promise.all(jobs.slice(i, i + SIDE_BY_SIDE).map(cancel));
    results.push(...batch.flat());
  }
  return results;
}

function noFilter(): SluiceError {
  return new SluiceError(
    'invalid_request',
    'name at least one of state, target_server, label, created_after',
    {
      fields: { field: 'state' },
    },
  );
}
