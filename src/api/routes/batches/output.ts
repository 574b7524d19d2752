/**
 * `GET /v1/batches/{id}/output`: hosts that ended the same and wrote the same stand together. Every host stands in one
 * group, whether it is over or not, so that the answer is whole at any moment.
 */
import Type from 'typebox';
import type { Batch } from '../../../job/batch.ts';
import { fold } from '../../../job/host-names.ts';
import { isOver, type State } from '../../../job/states.ts';
import { BatchOutput } from '../../../protocol/batch-view.ts';
import { batchJobId } from '../../../store/batches/job-id.ts';
import { countedIn } from '../../../store/batches/marks.ts';
import type { BatchStore, Standing } from '../../../store/batches.ts';
import type { JobStore } from '../../../store/jobs.ts';
import { visibleBatch } from '../../access.ts';
import type { Api } from '../../instance.ts';
import { BATCH_PATH, BatchParams } from './path.ts';

/** Records read at once: what is in memory of a batch besides its groups. */
const AT_ONCE = 500;
/** Outputs shown in full; of the smaller groups only who they are. */
const MOST_SHOWN = 1_000;

export interface BatchOutputDeps {
  batches: Pick<BatchStore, 'get' | 'standings' | 'targets'>;
  jobs: Pick<JobStore, 'getMany' | 'tails'>;
}

interface Group extends Pick<BatchOutput, 'state' | 'return_code' | 'outcome' | 'message'> {
  hosts: string[];
  /** One of its jobs, of which the output is shown; null where none is over. */
  shown: string | null;
}

export function batchOutputRoute(app: Api, { batches, jobs }: BatchOutputDeps): void {
  app.get(
    `${BATCH_PATH}/output`,
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Batches'],
        summary: 'Read the output of a batch, folded',
        description:
          'Hosts with the same end and exactly the same output are one item, the largest group first; those that are ' +
          `not over come last. The output is the last 8 KiB of each stream, of the ${MOST_SHOWN} largest groups.`,
        params: BatchParams,
        response: { 200: Type.Object({ items: Type.Array(BatchOutput), next_page_token: Type.Null() }) },
      },
    },
    async ({ params, caller }) => {
      const batch = visibleBatch(caller, params.id, await batches.get(params.id));
      const groups = inOrder(await grouped(batch));
      const items: BatchOutput[] = [];
      for (const [i, group] of groups.entries()) items.push(await show(group, i < MOST_SHOWN));
      return { items, next_page_token: null };
    },
  );

  async function grouped(batch: Batch): Promise<Group[]> {
    const groups = new Map<string, Group>();
    const standings = await batches.standings(batch);
    for (let from = 0; from < batch.total; from += AT_ONCE) {
      const targets = await batches.targets(batch.id, from, AT_ONCE);
      const ids = targets.map(({ host }, i) =>
        isEnded(standings[from + i]) ? batchJobId(batch.id, host) : null,
      );
      const read = await jobs.getMany(ids.filter((id) => id !== null));
      const found = new Map(read.flatMap((job) => (job ? [[job.id, job]] : [])));
      for (const [i, { host }] of targets.entries()) {
        const job = found.get(ids[i] ?? '');
        const state = countedIn(standings[from + i] ?? 'unstarted');
        const { kind = null, return_code = null, message = null } = job?.outcome ?? {};
        // Where nothing is known of its output, that is all they have in common. Messages differ from host to host.
        const key = JSON.stringify([state, kind, return_code, job?.output_print ?? null]);
        const begun = { state, outcome: kind, return_code, message, hosts: [], shown: job?.id ?? null };
        const group = groups.get(key) ?? begun;
        groups.set(key, group);
        group.hosts.push(host);
      }
    }
    return [...groups.values()];
  }

  async function show({ hosts, shown, ...end }: Group, whole: boolean): Promise<BatchOutput> {
    const tails = shown !== null && whole ? await jobs.tails(shown) : null;
    return {
      hosts: fold(hosts),
      count: hosts.length,
      ...end,
      stdout: tails?.stdout.toString('utf8') ?? null,
      stderr: tails?.stderr.toString('utf8') ?? null,
    };
  }
}

function isEnded(standing: Standing | undefined): boolean {
  return standing !== undefined && standing !== 'unstarted' && standing !== 'withdrawn' && isOver(standing);
}

function inOrder(groups: Group[]): Group[] {
  const isLast = ({ state }: Group) => (state === 'unstarted' || !isOver(state as State) ? 1 : 0);
  return groups.sort((a, b) => isLast(a) - isLast(b) || b.hosts.length - a.hosts.length);
}
