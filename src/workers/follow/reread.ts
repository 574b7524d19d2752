/**
 * The whole records of jobs that a host was asked about by a few of their fields, read for those whose answers say more
 * than "still running". One that is in another attempt by now is left out: what its host said is of the attempt before,
 * and would end the new one.
 */
import type { Job } from '../../job/record.ts';
import type { JobStore } from '../../store/jobs.ts';

export async function reread(
  jobs: Pick<JobStore, 'getMany'>,
  asked: readonly Pick<Job, 'id' | 'attempt'>[],
): Promise<Job[]> {
  const attempts = new Map(asked.map(({ id, attempt }) => [id, attempt]));
  const found = await jobs.getMany([...attempts.keys()]);
  return found.filter((job) => job !== null && job.attempt === attempts.get(job.id)) as Job[];
}
