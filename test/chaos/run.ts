/** One world from its start to its verdict: callers at work while one fault after the other is made, then the reckoning. */
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { createRandom } from '../helpers/random.ts';
import { keepCalling } from './callers.ts';
import { type Fault, schedule } from './faults.ts';
import { type Baseline, compare, findLeaks, measure } from './leaks.ts';
import { type Ended, settle } from './settle.ts';
import { strike } from './strike.ts';
import { type Breach, judge } from './verdict.ts';
import { startWorld, type World, type WorldPlan } from './world.ts';

export interface RunPlan extends WorldPlan {
  forMs: number;
  /** One fault in about so many ms. */
  everyMs: number;
  perSecond: number;
  settleMs: number;
}

export interface RunResult {
  plan: RunPlan;
  world: World;
  faults: Fault[];
  ended: Ended[];
  breaches: Breach[];
  settleSeconds: number;
}

/** So many jobs at most wait or run at a time. */
const MOST_UNDER_WAY = 250;

const PROGRESS_MS = 20_000;

/** @param use looks at the world while it still stands, before it is ended */
export async function run(
  plan: RunPlan,
  abort: AbortSignal,
  use: (result: RunResult) => Promise<void>,
): Promise<void> {
  const world = await startWorld(plan);
  const say = setInterval(() => console.error(progressOf(plan, world)), PROGRESS_MS);
  try {
    const before = await measure(world);
    const faults = await storm(plan, world, abort);
    if (abort.aborted) return;
    const aborted = once(abort, 'abort').then(() => null);
    const result = await Promise.race([aborted, reckon(plan, { world, faults, before }, abort)]);
    if (result) await use(result);
  } finally {
    clearInterval(say);
    await world.stop();
  }
}

/** For whoever watches a long run. */
function progressOf({ name }: RunPlan, { ledger }: World): string {
  const acknowledged = ledger.acknowledged().length;
  return `${name}: ${acknowledged} jobs, ${ledger.underWay()} under way, ${ledger.wrong.length} things wrong so far`;
}

async function storm(plan: RunPlan, world: World, abort: AbortSignal): Promise<Fault[]> {
  const { ledger } = world;
  const faults = schedule(createRandom(plan.seed, `faults of ${plan.name}`), {
    ...{ targets: world.targets, forMs: plan.forMs, everyMs: plan.everyMs },
  });
  const over = new AbortController();
  const stop = AbortSignal.any([abort, over.signal]);
  const calling = keepCalling(
    {
      ...{ seed: plan.seed, hosts: world.hosts, callbackUrl: world.callbackUrl, ledger: world.ledger },
      ...{ urls: world.gateway.urls, apiKey: world.gateway.apiKey, perSecond: plan.perSecond },
      isCrowded: () => world.ledger.underWay() > MOST_UNDER_WAY,
    },
    stop,
  );
  const begun = performance.now();
  const underWay = new Map<string, Promise<void>>();
  for (const fault of faults) {
    await pause(Math.max(0, fault.atMs - (performance.now() - begun)), undefined, { signal: abort }).catch(
      () => undefined,
    );
    if (abort.aborted) break;
    // One after the other to each target: on a busy machine a fault may take longer than its time.
    const before = underWay.get(fault.target) ?? Promise.resolve();
    const made = before.then(() => strike(world, fault));
    underWay.set(
      fault.target,
      made.catch((error) => {
        // Somebody did not come up again: the rest is judged all the same.
        if (!abort.aborted)
          ledger.wrong.push(`no process ends by itself: after ${fault.kind} of ${fault.target}: ${error}`);
      }),
    );
  }
  await pause(Math.max(0, plan.forMs - (performance.now() - begun)), undefined, { signal: abort }).catch(
    () => undefined,
  );
  await Promise.all(underWay.values());
  over.abort();
  if (!abort.aborted) await world.mend();
  await calling;
  return faults;
}

async function reckon(
  plan: RunPlan,
  { world, faults, before }: { world: World; faults: Fault[]; before: Baseline },
  abort: AbortSignal,
): Promise<RunResult> {
  const begun = performance.now();
  const ended = await settle(world, plan.seed, AbortSignal.any([abort, AbortSignal.timeout(plan.settleMs)]));
  const settleSeconds = Math.round((performance.now() - begun) / 1_000);
  const { ledger, hosts, receiver, gateway } = world;
  const breaches = judge({
    ...{ ended, ledger, hosts, received: receiver.received },
    canForget: world.redis.canForget,
  });
  const isOver = breaches.every(({ promise }) => promise !== 'nothing lost');
  // What has no end holds its places: that is one breach, not many.
  const lost = ended.filter(({ job }) => job?.state === 'lost');
  const askedOn = new Set(lost.map(({ entry }) => entry.host));
  if (isOver) breaches.push(...(await findLeaks(world, askedOn)), ...(await compare(world, before)));
  for (const { ends } of gateway.processes.values()) {
    breaches.push(...ends.map((what) => ({ promise: 'no process ends by itself' as const, what })));
  }
  return { plan, world, faults, ended, breaches, settleSeconds };
}
