/** Which of the jobs that a host was asked about its answers may still be about. */
import { expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import { reread } from '../../src/workers/follow/reread.ts';
import { newJob } from '../helpers/stores.ts';

const job = (attempt: number) => newJob({ host: 'h', command: 'true', state: 'running', attempt });
const holding = (...present: (Job | null)[]) => ({
  getMany: async (ids: string[]) => ids.map((id) => present.find((one) => one?.id === id) ?? null),
});

it('gives the whole record of each that is in the attempt that was asked about', async () => {
  const [one, other] = [job(1), job(2)];
  expect(await reread(holding(one, other), [one, other])).toEqual([one, other]);
});

it('leaves out a job that was started again meanwhile: the answer is of the attempt before', async () => {
  const asked = job(1);
  expect(await reread(holding({ ...asked, state: 'queued', attempt: 2 }), [asked])).toEqual([]);
});

it('leaves out a job whose record is gone', async () => {
  expect(await reread(holding(), [job(1)])).toEqual([]);
});
