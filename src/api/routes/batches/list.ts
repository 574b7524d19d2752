/** `GET /v1/batches` and `GET /v1/batches/{id}/jobs`, in pages. */
import Type from 'typebox';
import { BATCH_STATES, type BatchState } from '../../../job/batch.ts';
import { SluiceError } from '../../../job/errors.ts';
import { isState, STATES } from '../../../job/states.ts';
import { BatchView, batchView } from '../../../protocol/batch-view.ts';
import { JobView, jobView } from '../../../protocol/job-view.ts';
import type { BatchStore } from '../../../store/batches.ts';
import type { JobStore } from '../../../store/jobs.ts';
import { ownerLimit, visibleBatch } from '../../access.ts';
import type { Api } from '../../instance.ts';
import type { PageTokens } from '../../page-tokens.ts';
import { LabelFilter, labelsIn, PageFields } from '../jobs/filter.ts';
import { BATCH_PATH, BatchParams } from './path.ts';

export interface ListBatchDeps {
  batches: Pick<BatchStore, 'list' | 'get' | 'standings' | 'jobIdsAt'>;
  jobs: Pick<JobStore, 'getMany'>;
  pageTokens: PageTokens;
}

const next_page_token = Type.Unsafe<string | null>({
  type: ['string', 'null'],
  description: 'For the next page; null at the end. A page may be short, or empty, without being the last.',
});

export function listBatchRoutes(app: Api, { batches, jobs, pageTokens }: ListBatchDeps): void {
  app.get(
    '/v1/batches',
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Batches'],
        summary: 'List batches',
        description:
          'Newest first; those that the key may see, in one of the states and with all of the labels.',
        querystring: Type.Object(
          { state: stateFilter('Batches', BATCH_STATES), label: LabelFilter, ...PageFields },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object({ items: Type.Array(BatchView), next_page_token }) },
      },
    },
    async ({ query, caller }) => {
      const owner = ownerLimit(caller);
      const state = query.state && batchStatesIn(query.state);
      const filter = {
        label: labelsIn(query.label),
        ...(state && { state }),
        ...(owner !== undefined && { owner }),
      };
      const after = pageTokens.read(query.page_token, ['batches', filter]);
      const page = await batches.list(filter, {
        size: query.page_size,
        ...(after !== undefined && { after }),
      });
      return {
        items: page.batches.map(batchView),
        next_page_token: pageTokens.issue(page.after, ['batches', filter]),
      };
    },
  );

  app.get(
    `${BATCH_PATH}/jobs`,
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Batches'],
        summary: 'List the jobs of a batch',
        description:
          'In the order of its targets, without their output. Targets without a job yet are left out.',
        params: BatchParams,
        querystring: Type.Object(
          {
            state: stateFilter('Jobs', STATES),
            ...PageFields,
          },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object({ items: Type.Array(JobView), next_page_token }) },
      },
    },
    async ({ params, query, caller }) => {
      const batch = visibleBatch(caller, params.id, await batches.get(params.id));
      const states = query.state?.flatMap((text) => text.split(',')).map(parseState);
      const filters = ['batch-jobs', batch.id, states];
      const from = Number(pageTokens.read(query.page_token, filters) ?? -1) + 1;
      const standings = await batches.standings(batch);
      const wanted = standings.flatMap((standing, i) => {
        // Withdrawn before its start: its job is there, and is canceled.
        const state = standing === 'withdrawn' ? 'canceled' : standing;
        return i >= from && state !== 'unstarted' && (states?.includes(state) ?? true) ? [i] : [];
      });
      const page = wanted.slice(0, query.page_size);
      const last = page.at(-1);
      const found = await jobs.getMany(await batches.jobIdsAt(batch.id, page));
      return {
        items: found.filter((job) => job !== null).map((job) => jobView(job)),
        next_page_token: pageTokens.issue(
          last === undefined || wanted.length <= page.length ? null : `${last}`,
          filters,
        ),
      };
    },
  );
}

function stateFilter(what: string, states: readonly string[]) {
  return Type.Optional(
    Type.Array(Type.String(), {
      maxItems: 32,
      description: `${what} in one of these states; repeated or separated by commas. ${states.join(', ')}.`,
    }),
  );
}

function batchStatesIn(texts: string[]): BatchState[] {
  return texts
    .flatMap((text) => text.split(','))
    .map((word) => {
      const state = BATCH_STATES.find((known) => known === word);
      if (state) return state;
      throw new SluiceError('invalid_request', `state must be one of ${BATCH_STATES.join(', ')}`, {
        fields: { field: 'state' },
      });
    });
}

function parseState(word: string) {
  if (isState(word)) return word;
  throw new SluiceError('invalid_request', `state must be one of ${STATES.join(', ')}`, {
    fields: { field: 'state' },
  });
}
