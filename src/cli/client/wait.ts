/** Waits for jobs by long polling: however long it takes, and through restarts of the gateway. */
import { setTimeout as pause } from 'node:timers/promises';
import { isOver } from '../../job/states.ts';
import type { JobView } from '../../protocol/job-view.ts';
import type { Client } from '../client.ts';
import { isAway } from './away.ts';

const PAUSE_MS = 1_000;

/**
 * @param onChange called with every version that is seen
 * @throws Failure where the gateway answers that there is no such job
 */
export async function waitForEnd(
  client: Client,
  first: JobView,
  onChange: (job: JobView) => void,
  signal: AbortSignal,
): Promise<JobView> {
  let job = first;
  onChange(job);
  while (!isOver(job.state)) {
    const now = await aboveVersion<JobView>(client, `/v1/jobs/${job.id}`, job.version, signal);
    if (now === null) continue;
    if (now.version !== job.version) onChange(now);
    job = now;
  }
  return job;
}

/**
 * Holds a question until there is a version above this one, or for a minute.
 * @returns null where the gateway did not answer, after a moment
 */
export async function aboveVersion<T>(
  client: Client,
  path: string,
  version: number,
  signal: AbortSignal,
): Promise<T | null> {
  try {
    return await client.request<T>('GET', path, { query: { wait: '60', since: `${version}` }, signal });
  } catch (error) {
    if (!isAway(error)) throw error;
    await pause(PAUSE_MS, undefined, { signal });
    return null;
  }
}
