/** Commands on jobs' places: accepting, claiming, giving back, and what becomes of the slots of workers that are held up. */
import { expect } from 'vitest';
import { placeOf } from '../../src/store/mailbox/places.ts';
import { holderOf } from '../../src/store/mailbox/take.ts';
import { command, nth, seen } from './store-model.command.ts';
import {
  claimable,
  type Held,
  type Host,
  isActive,
  isPlaced,
  LIMITS,
  type Model,
  moved,
  PLACED,
  reclaim,
} from './store-model.ts';
import { newJob } from './stores.ts';

const HOUR_MS = 3_600_000;

export interface Asked {
  host: Host;
  key: number | null;
  body: number;
  priority: number;
  callback: boolean;
}

export const accept = (asked: Asked) =>
  command(`accept(${JSON.stringify(asked)})`, async (model, { jobs }) => {
    const { host, key, body, priority, callback } = asked;
    const job = newJob({ host, command: 'true', priority, callback_url: callback ? 'https://h/' : null });
    const idempotency = key === null ? undefined : { key: `${key}`, fingerprint: `body-${body}-of-thirteen` };
    const accepted = await jobs.accept(job, idempotency);
    const earlier = key === null ? undefined : model.keys.get(key);
    if (!earlier) {
      expect(accepted.kind).toBe('accepted');
      const fresh = { state: 'queued', version: 1, attempt: 0, cancelOwed: false } as const;
      model.jobs.set(job.id, { id: job.id, host, key, callback, ...fresh });
      model.waiting[host].set(job.id, { isDue: true });
      if (key !== null) model.keys.set(key, { id: job.id, body });
    } else if (earlier.body === body) {
      expect(accepted).toMatchObject({ kind: 'replayed', job: { id: earlier.id } });
    } else {
      expect(accepted).toEqual({ kind: 'conflict', id: earlier.id });
    }
  });

/** @param begins moves what is as it was accepted to `dispatching` */
export const take = (host: Host, most: number, begins: boolean) =>
  command(`take(${host}, ${most}, ${begins})`, async (model, { mailbox, jobs }) => {
    seen.reclaimed += reclaim(model, host);
    const expected = claimable(model, host, most);
    const begin = begins ? { store_id: 'store', why: 'by the model' } : null;
    const { claims } = await mailbox.take(host, LIMITS[host], { leaseMs: HOUR_MS, most, revision: 0, begin });
    const unsettled = claims.filter(({ id }) => isActive(model, id)).length;
    expect({ unsettled, fresh: claims.length - unsettled }, 'claims').toEqual(expected);
    seen.claimed += claims.length;
    for (const claim of claims) {
      expect(model.waiting[host].get(claim.id), `${claim.id} waits`).toEqual({ isDue: true });
      model.waiting[host].delete(claim.id);
      model.held.push({ host, claim, isExpired: false });
      const job = await jobs.get(claim.id);
      expect(claim.read(), `${claim.id} as it was taken`).toEqual(job && { ...job, next_poll_at: null });
      if (claim.begun) begun(model, claim.id);
    }
  });

function begun(model: Model, id: string): void {
  const job = model.jobs.get(id);
  expect(job).toMatchObject({ state: 'queued', version: 1 });
  if (job) moved(model, job, { from: ['queued'], to: 'dispatching', attempt: 1, isDue: true });
  seen.begun++;
}

/** As a lease runs out: its worker may be dead, or held up and come back. */
export const expire = (n: number) =>
  command(
    `expire(${n})`,
    async (model, { redis, keys }) => {
      const one = nth(model.held, n) as Held;
      await redis.zadd(keys.slots(one.host), 'XX', 1, holderOf(one.claim));
      one.isExpired = true;
    },
    ({ held }) => held.length > 0,
  );

/** Of a start that is settled: of one that is not, by its worker's word, somebody else has it in hand. */
export const release = (n: number) =>
  command(
    `release(${n})`,
    async (model, { mailbox }) => {
      const one = nth(releasable(model), n) as Held;
      await mailbox.release(one.host, one.claim);
      letGo(model, one);
    },
    (model) => releasable(model).length > 0,
  );

export const giveBack = (n: number, later: boolean) =>
  command(
    `giveBack(${n}, ${later ? 'later' : 'now'})`,
    async (model, { mailbox }) => {
      const one = nth([...model.held, ...model.gone], n) as Held;
      await mailbox.giveBack(one.host, one.claim, later ? HOUR_MS : 0);
      const waits = model.waiting[one.host];
      // Put back by somebody else already: who knows more about it.
      if (letGo(model, one) && !waits.has(one.claim.id)) waits.set(one.claim.id, { isDue: !later });
    },
    ({ held, gone }) => held.length + gone.length > 0,
  );

/** A job whose place was lost, as by a Redis that lost its last second. */
export const rescue = (worker: number, lose: boolean) =>
  command(`rescue(${worker}, ${lose})`, async (model, { redis, keys, mailbox, views }) => {
    const view = views[worker];
    const job = view && model.jobs.get(view.id);
    if (!view || !job) return;
    const waits = model.waiting[job.host];
    if (lose) {
      await redis.zrem(keys.mailbox(job.host), placeOf(view));
      await redis.zrem(keys.ready(job.host), placeOf(view));
      await redis.hdel(keys.turns(job.host), `again:${job.id}`);
      waits.delete(job.id);
    }
    const isNobodys = PLACED.includes(job.state) && !isPlaced(model, view);
    expect(await mailbox.rescue(view), `${view.id} is rescued`).toBe(isNobodys);
    if (!isNobodys) return;
    waits.set(job.id, { isDue: true });
    seen.rescued++;
  });

/** @returns whether it was still held */
function letGo(model: Model, one: Held): boolean {
  const list = model.held.includes(one) ? model.held : model.gone;
  list.splice(list.indexOf(one), 1);
  return list === model.held;
}

function releasable({ jobs, waiting, held, gone }: Model): Held[] {
  const isInOtherHands = ({ host, claim }: Held) =>
    waiting[host].has(claim.id) || held.filter((one) => one.claim.id === claim.id).length > 1;
  const isSettled = ({ claim }: Held) => !PLACED.includes(jobs.get(claim.id)?.state ?? 'succeeded');
  return [...held.filter((one) => isSettled(one) || isInOtherHands(one)), ...gone];
}
