/**
 * `POST /v1/batches`: accepts a batch. The reply is sent once the record and its targets are durable, and not before; its
 * jobs are made by the workers from then on.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { type BatchTarget, isBatchOver } from '../../../job/batch.ts';
import { BatchTargets, BatchView, batchView } from '../../../protocol/batch-view.ts';
import type { AcceptedBatch, BatchStore } from '../../../store/batches.ts';
import type { Idempotency } from '../../../store/jobs/idempotency.ts';
import type { Wake } from '../../../store/queues.ts';
import type { Sealer } from '../../../store/sealing.ts';
import { fingerprint, parseIdempotencyKey } from '../../idempotency.ts';
import type { Api } from '../../instance.ts';
import { keyReused, uniqueKeyInUse } from '../../keys-in-use.ts';
import { createStoreClock } from '../../store-clock.ts';
import { traceparentOf } from '../../traceparent.ts';
import { type CallbackDeps, checkCallback } from '../jobs/callback.ts';
import { checkBody } from '../jobs/order.ts';
import { checkReplace } from '../jobs/permission.ts';
import { SubmitHeaders } from '../jobs/submit.schema.ts';
import { checkCopies } from './copies.ts';
import { createBatchOrders } from './order.ts';
import { BatchBody, BatchQuery } from './submit.schema.ts';
import { settleTargets, type TargetDeps } from './targets.ts';

/** Ten thousand names of the longest kind. */
const BODY_LIMIT_BYTES = 4 * 1_048_576;

type SubmitRequest = FastifyRequest<{ Body: BatchBody; Querystring: BatchQuery }>;

export interface SubmitBatchDeps extends TargetDeps, CallbackDeps {
  batches: Pick<BatchStore, 'accept' | 'attach' | 'findAccepted' | 'holder' | 'now'>;
  wake: Pick<Wake, 'batch'>;
  sealer: Pick<Sealer, 'seal' | 'open' | 'pepper'>;
}

export function submitBatchRoute(app: Api, deps: SubmitBatchDeps): void {
  const { batches, wake, sealer } = deps;
  const { ordered } = createBatchOrders({ now: createStoreClock(batches), sealer });

  app.post(
    '/v1/batches',
    {
      bodyLimit: BODY_LIMIT_BYTES,
      config: { scope: 'jobs:submit', audit: 'batch.submit' },
      schema: {
        tags: ['Batches'],
        summary: 'Run a command on many hosts',
        description:
          'Answers 202 once the batch is durable. A target that is unknown or forbidden refuses the whole batch, and ' +
          'every one of them is named. `Idempotency-Key` makes a repetition answer with the first batch. With ' +
          '`?dry_run=true` it answers 200 with the hosts, and starts nothing.',
        headers: Type.Pick(SubmitHeaders, ['idempotency-key', 'traceparent']),
        querystring: BatchQuery,
        body: BatchBody,
        response: { 200: BatchTargets, 202: BatchView },
      },
    },
    async (request, reply) => {
      const { body, caller } = request;
      checkBody(body);
      if (request.query.dry_run) return reply.code(200).send(await rehearse(request));
      const idempotency = idempotencyOf(request);
      // Before the checks: a repetition is answered with its batch even if it would be refused by now.
      const earlier = idempotency && (await batches.findAccepted(caller.name, idempotency));
      return answer(request, reply, earlier ?? (await admit(request, idempotency)));
    },
  );

  async function rehearse({ body, caller }: SubmitRequest): Promise<BatchTargets> {
    const targets = (await settled(body, caller)).map(({ host }) => host);
    return { targets, total: targets.length };
  }

  async function admit(request: SubmitRequest, idempotency: Idempotency | null): Promise<AcceptedBatch> {
    const { body, caller } = request;
    checkReplace(caller, body);
    await checkCallback(deps, body.callback_url ?? null, caller.name);
    const targets = await settled(body, caller);
    const batch = ordered(body, targets.length, {
      caller: caller.name,
      traceparent: traceparentOf(request),
    });
    const onDuplicate = body.on_duplicate ?? 'attach';
    for (;;) {
      const last = await batches.holder(batch);
      // A `lost` job of it may still run: who replaces it waits until that is known, who comes beside it need not.
      const holder = last && (onDuplicate === 'replace' || !isBatchOver(last.state)) ? last : null;
      if (holder && onDuplicate === 'attach') {
        if (idempotency === null) return { kind: 'attached', batch: holder };
        const attached = await batches.attach(holder, idempotency);
        if (attached.kind !== 'over') return attached;
        continue;
      }
      if (holder && onDuplicate === 'reject') throw uniqueKeyInUse({ batch_id: holder.id }, holder.state);
      const options = { seen: last?.id ?? null, replaces: holder?.id ?? null };
      const accepted = await batches.accept(batch, targets, idempotency ?? undefined, options);
      if (accepted.kind !== 'holder_changed') return accepted;
    }
  }

  async function settled(body: BatchBody, caller: SubmitRequest['caller']): Promise<BatchTarget[]> {
    const targets = await settleTargets(deps, body, caller);
    checkCopies(body, targets.length);
    return targets;
  }

  async function answer(request: SubmitRequest, reply: FastifyReply, accepted: AcceptedBatch) {
    if (accepted.kind === 'conflict') throw keyReused({ batch_id: accepted.id });
    const { kind, batch } = accepted;
    Object.assign(request.audited, { batch: batch.id, hosts: batch.total, replayed: kind === 'replayed' });
    if (kind === 'replayed') reply.header('idempotency-replayed', 'true');
    if (kind === 'accepted') wakeWorkers(request, batch.id);
    reply.header('location', `/v1/batches/${batch.id}`).header('etag', `"${batch.version}"`);
    const attached = kind === 'attached' || (kind === 'replayed' && accepted.attached);
    if (attached) request.audited.attached = true;
    const view = batchView(batch);
    return reply.code(202).send(attached ? { ...view, attached } : view);
  }

  /** Nobody waits for it: where it fails, the sweep finds the batch due. */
  function wakeWorkers(request: FastifyRequest, batch: string): void {
    wake.batch(batch).catch((error: Error) => {
      request.log.warn({ event: 'batch.wake.failed', batch, reason: error.message }, 'left to the sweep');
    });
  }

  function idempotencyOf({ headers, body }: SubmitRequest): Idempotency | null {
    const key = parseIdempotencyKey(headers['idempotency-key']);
    return key === null ? null : { key, fingerprint: fingerprint(body, sealer.pepper) };
  }
}
