/** `POST /v1/jobs/{id}:cancel`: a promise that is kept later if need be; the reply says whether it is yet. */
import { SluiceError } from '../../../job/errors.ts';
import { JobView } from '../../../protocol/job-view.ts';
import type { Cancel } from '../../../store/jobs/cancel.ts';
import type { JobStore } from '../../../store/jobs.ts';
import { visible } from '../../access.ts';
import type { Api } from '../../instance.ts';
import { CancelBody, cancelOrder } from './cancel.schema.ts';
import { JOB_PATH, JobParams } from './path.ts';
import { showJob } from './show.ts';

export interface CancelDeps {
  jobs: Pick<JobStore, 'get' | 'tails' | 'output'>;
  cancelJob: Cancel;
}

export function cancelRoute(app: Api, { jobs, cancelJob }: CancelDeps): void {
  app.post(
    `${JOB_PATH}::cancel`,
    {
      config: { scope: 'jobs:cancel', audit: 'job.cancel', bodyOptional: true },
      schema: {
        tags: ['Jobs'],
        summary: 'Cancel a job',
        description:
          'Before the start nothing will start. A started job is `canceling` until its end is proven, however ' +
          'long its host is away. 409 `job_is_over` where it is over, but for a `lost` one.',
        params: JobParams,
        body: CancelBody,
        response: { 200: JobView },
      },
    },
    async (request) => {
      const { caller } = request;
      const { id } = request.params;
      request.audited.job = id;
      visible(caller, id, await jobs.get(id));
      const result = await cancelJob(id, cancelOrder(request.body), caller.name);
      const job = visible(caller, id, result?.job ?? null);
      if (result?.kind === 'over') throw new SluiceError('job_is_over', `${id} is ${job.state}`);
      return showJob(jobs, job);
    },
  );
}
