/** The paths of one job. The pattern keeps a colon out of the id, so that `:verb` is what follows it. */
import Type from 'typebox';

export const JOB_PATH = '/v1/jobs/:id(^[A-Za-z0-9_-]+$)';

export const JobParams = Type.Object({ id: Type.String({ description: "The job's id." }) });
