/**
 * Three ways to break a promise, each a small change to one source file that is made in flight, while a program loads
 * it (`preload.ts`): the product carries nothing of them. Tests and rigs that find nothing wrong with a mutated program
 * find nothing.
 */

export interface Mutation {
  /** Of the source file, from the root of the repository. */
  file: string;
  /** Occurs there exactly once. */
  find: string;
  replace: string;
  /** The promise that it breaks. */
  breaks: string;
}

export const MUTATIONS = {
  'launch token ignored': {
    file: 'src/agent/accept.ts',
    find: "if (known?.outcome?.reason === 'never_ran') {",
    replace: 'if (known) {',
    breaks: 'one intent, at most one start: the host starts the same launch token again',
  },
  'reconcile skipped': {
    file: 'src/workers/dispatch/start.ts',
    find: 'if (options.begunAt === null) return startAgain(target, job);',
    replace:
      "if (options.begunAt === null) return startFailed.cannotBeSettled({ ...job, on_ambiguous_start: 'retry' });",
    breaks:
      'one intent, at most one start: an interrupted start becomes a new attempt, and nobody asks the host first',
  },
  'told before committed': {
    file: 'src/store/jobs.ts',
    find: 'const moved = await transition(redis, keys, job, states, to, change);',
    replace: `
      const tells = job.callback_url !== null && ['succeeded', 'failed', 'canceled'].includes(to);
      if (tells) {
        const { outcome, ended_at } = change;
        const hash = { ...(await redis.hgetall(keys.job(job.id))), state: to, version: job.version + 1 };
        const over = { ...hash, outcome: JSON.stringify(outcome), ended_at };
        const texts = Object.entries(over).flatMap(([name, value]) => [name, String(value)]);
        const entry = { id: job.id, version: job.version + 1, type: \`job.\${to}\`, at: Date.now(), hash: texts };
        await redis.rpush(keys.outbox, JSON.stringify(entry));
        onTold();
        // Long enough to be told: else it is a race between the receiver and the commit.
        await new Promise((resolve) => setTimeout(resolve, 1_000));
      }
      const last = tells ? { ...change, untold: true as const } : change;
      const moved = await transition(redis, keys, job, states, to, last);`,
    breaks: 'the state is committed before anyone is told',
  },
} as const satisfies Record<string, Mutation>;
export type MutationName = keyof typeof MUTATIONS;
