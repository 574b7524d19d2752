/** `POST /v1/batches/{id}:retry`: the same again, as a new batch, for those of its hosts that stand where it says. */
import type { FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { type Batch, type BatchTarget, type COUNTED, isBatchOver } from '../../../job/batch.ts';
import { SluiceError } from '../../../job/errors.ts';
import { BatchView, batchView } from '../../../protocol/batch-view.ts';
import { countedIn } from '../../../store/batches/marks.ts';
import type { BatchStore } from '../../../store/batches.ts';
import type { Wake } from '../../../store/queues.ts';
import type { Sealer } from '../../../store/sealing.ts';
import { visibleBatch } from '../../access.ts';
import { fingerprint, parseIdempotencyKey } from '../../idempotency.ts';
import type { Api } from '../../instance.ts';
import { keyReused, uniqueKeyInUse } from '../../keys-in-use.ts';
import { createStoreClock } from '../../store-clock.ts';
import { SubmitHeaders } from '../jobs/submit.schema.ts';
import { createBatchOrders } from './order.ts';
import { BATCH_PATH, BatchParams } from './path.ts';
import { BatchBody } from './submit.schema.ts';
import { checkTargetsAgain, type TargetDeps } from './targets.ts';

export interface RetryBatchDeps extends TargetDeps {
  batches: Pick<BatchStore, 'get' | 'accept' | 'findAccepted' | 'holder' | 'standings' | 'targets' | 'now'>;
  wake: Pick<Wake, 'batch'>;
  sealer: Pick<Sealer, 'seal' | 'open' | 'pepper'>;
}

/** What can be run again: everything that is over, and what was never started. */
const SCOPES = [
  'unstarted',
  'failed',
  'timed_out',
  'canceled',
  'expired',
  'lost',
  'succeeded',
] as const satisfies readonly (typeof COUNTED)[number][];

const RetryBody = Type.Object(
  {
    scope: Type.Unsafe<(typeof SCOPES)[number][]>({
      type: 'array',
      items: { type: 'string', enum: [...SCOPES] },
      minItems: 1,
      uniqueItems: true,
      description:
        'Hosts that stand so in `counts`. Mind that of a `lost` job nobody knows whether it still runs.',
    }),
    labels: Type.Optional(
      Type.Unsafe<Record<string, string>>({
        ...BatchBody.properties.labels,
        description: 'Instead of those of the batch.',
      }),
    ),
  },
  { additionalProperties: false },
);

type RetryRequest = FastifyRequest<{ Params: { id: string }; Body: Static<typeof RetryBody> }>;

export function retryBatchRoute(app: Api, deps: RetryBatchDeps): void {
  const { batches, wake, sealer } = deps;
  const { again } = createBatchOrders({ now: createStoreClock(batches), sealer });

  app.post(
    `${BATCH_PATH}::retry`,
    {
      config: { scope: 'jobs:submit', audit: 'batch.retry' },
      schema: {
        tags: ['Batches'],
        summary: 'Run a part of a batch again',
        description:
          'A new batch with `retry_of`, for just those hosts, with the same command, sizes, limits and `unique_key`. It ' +
          'belongs to the same API key as the first one, whoever asks for it. 409 `batch_not_over` while jobs of the batch ' +
          'may still begin, 409 `unique_key_in_use` while another batch with its key is at work. ' +
          '`Idempotency-Key` makes a repetition answer with the first one.',
        headers: Type.Pick(SubmitHeaders, ['idempotency-key']),
        params: BatchParams,
        body: RetryBody,
        response: { 202: BatchView },
      },
    },
    async (request, reply) => {
      const { caller, params, body, headers } = request;
      const before = visibleBatch(caller, params.id, await batches.get(params.id));
      request.audited.retry_of = before.id;
      const key = parseIdempotencyKey(headers['idempotency-key']);
      const print = () => fingerprint({ retry_of: before.id, ...body }, sealer.pepper);
      const idempotency = key === null ? undefined : { key, fingerprint: print() };
      const earlier = idempotency && (await batches.findAccepted(before.created_by, idempotency));
      const accepted = earlier ?? (await begin(request, before, idempotency));
      if (accepted.kind === 'conflict') throw keyReused({ batch_id: accepted.id });
      if (accepted.kind === 'replayed') reply.header('idempotency-replayed', 'true');
      else await wake.batch(accepted.batch.id).catch(() => undefined);
      const { batch } = accepted;
      Object.assign(request.audited, { batch: batch.id, hosts: batch.total });
      reply.header('location', `/v1/batches/${batch.id}`).header('etag', `"${batch.version}"`);
      return reply.code(202).send(batchView(batch));
    },
  );

  async function begin(
    { caller, body }: RetryRequest,
    before: Batch,
    idempotency: { key: string; fingerprint: string } | undefined,
  ) {
    if (!isBatchOver(before.state)) {
      throw new SluiceError(
        'batch_not_over',
        `${before.id} is ${before.state}: cancel it, or wait for its end`,
      );
    }
    const targets = await standingIn(before, body.scope);
    if (targets.length === 0) {
      throw new SluiceError('invalid_request', `no host of ${before.id} is ${body.scope.join(' or ')}`, {
        fields: { field: 'scope' },
      });
    }
    await checkTargetsAgain(deps, targets, before.job.job_user, caller);
    const batch = again(before, targets.length, body.labels);
    for (;;) {
      const last = await batches.holder(batch);
      if (last && !isBatchOver(last.state)) throw uniqueKeyInUse({ batch_id: last.id }, last.state);
      const options = { seen: last?.id ?? null, replaces: null };
      const accepted = await batches.accept(batch, targets, idempotency, options);
      if (accepted.kind !== 'holder_changed') return accepted;
    }
  }

  async function standingIn(batch: Batch, scope: readonly string[]): Promise<BatchTarget[]> {
    const standings = await batches.standings(batch);
    const targets = await batches.targets(batch.id, 0, batch.total);
    return targets.filter((_, i) => scope.includes(countedIn(standings[i] ?? 'unstarted')));
  }
}
