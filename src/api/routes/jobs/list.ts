/** `GET /v1/jobs`: the jobs that the caller may see, newest first, in pages. */
import Type from 'typebox';
import { JobView, jobView } from '../../../protocol/job-view.ts';
import type { HostStore } from '../../../store/hosts.ts';
import type { JobStore } from '../../../store/jobs.ts';
import type { Api } from '../../instance.ts';
import type { PageTokens } from '../../page-tokens.ts';
import { FilterFields, PageFields, toJobFilter } from './filter.ts';

export interface ListDeps {
  jobs: Pick<JobStore, 'list'>;
  hosts: Pick<HostStore, 'resolve'>;
  pageTokens: PageTokens;
}

const JobList = Type.Object({
  items: Type.Array(JobView),
  next_page_token: Type.Unsafe<string | null>({
    type: ['string', 'null'],
    description: 'For the next page; null at the end. A page may be short, or empty, without being the last.',
  }),
});

export function listRoute(app: Api, { jobs, hosts, pageTokens }: ListDeps): void {
  app.get(
    '/v1/jobs',
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Jobs'],
        summary: 'List jobs',
        description: 'Newest first; without their output.',
        querystring: Type.Object({ ...FilterFields, ...PageFields }, { additionalProperties: false }),
        response: { 200: JobList },
      },
    },
    async (request) => {
      const { page_size, page_token, ...filters } = request.query;
      const filter = await toJobFilter(filters, request.caller, hosts);
      const after = pageTokens.read(page_token, ['jobs', filter]);
      const page = await jobs.list(filter, { size: page_size, ...(after !== undefined && { after }) });
      return {
        items: page.jobs.map((job) => jobView(job)),
        next_page_token: pageTokens.issue(page.after, ['jobs', filter]),
      };
    },
  );
}
