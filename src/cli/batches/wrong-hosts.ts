/** Names the hosts on which a batch went wrong, while it goes on: each once, and of many the first ones. */
import type { BatchView } from '../../protocol/batch-view.ts';
import type { JobView } from '../../protocol/job-view.ts';
import { sentenceFor } from '../client/job-words.ts';
import type { Client } from '../client.ts';

/** Somebody who reads along has seen enough by then; what comes after is in the output by host. */
const MOST = 50;
const WRONG = ['failed', 'timed_out', 'expired', 'lost'] as const;

/** @returns what is to be called with every version of the batch that is seen, one call after the other */
export function createWrongHosts(
  client: Client,
  note: (text: string) => void,
): (batch: BatchView) => Promise<void> {
  const named = new Set<string>();
  let seen = 0;
  return async (batch) => {
    const count = WRONG.reduce((sum, state) => sum + batch.counts[state], 0);
    if (count === seen || named.size > MOST) return;
    const query = { state: [...WRONG], page_size: `${MOST * 2}` };
    const path = `/v1/batches/${batch.id}/jobs`;
    // Where they cannot be told now, they are with the next version, or in the output at the end.
    const page = await client.request<{ items: JobView[] }>('GET', path, { query }).catch(() => undefined);
    if (!page) return;
    seen = count;
    for (const job of page.items.filter(({ id }) => !named.has(id))) {
      named.add(job.id);
      if (named.size <= MOST) note(sentenceFor(job));
    }
    if (named.size > MOST) note(`more than ${MOST} hosts went wrong; the others are told at the end`);
  };
}
