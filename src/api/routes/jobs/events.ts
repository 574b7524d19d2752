/** `GET /v1/jobs/{id}/events`: every change of a job. */
import Type from 'typebox';
import { timestamp } from '../../../protocol/job-view.ts';
import type { JobStore } from '../../../store/jobs.ts';
import { visible } from '../../access.ts';
import type { Api } from '../../instance.ts';
import { JOB_PATH, JobParams } from './path.ts';

const EventList = Type.Object({
  items: Type.Array(
    Type.Object({
      version: Type.Integer({ description: 'The version that the change made.' }),
      state: Type.String({ description: 'The state after it.' }),
      at: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'RFC 3339, UTC.' }),
      why: Type.String({ description: 'In a few words.' }),
    }),
    { description: 'Oldest first.' },
  ),
  next_page_token: Type.Null({ description: 'A job has few enough changes for one page.' }),
});

export function jobEventsRoute(app: Api, { jobs }: { jobs: Pick<JobStore, 'get' | 'events'> }): void {
  app.get(
    `${JOB_PATH}/events`,
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Jobs'],
        summary: 'List the changes of a job',
        params: JobParams,
        response: { 200: EventList },
      },
    },
    async (request) => {
      const { id } = request.params;
      visible(request.caller, id, await jobs.get(id));
      const events = await jobs.events(id);
      return { items: events.map((event) => ({ ...event, at: timestamp(event.at) })), next_page_token: null };
    },
  );
}
