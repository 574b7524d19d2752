/** `GET /v1/hosts` and `GET /v1/hosts/{name}`. */
import Type from 'typebox';
import type { HostConfig } from '../../../job/host.ts';
import { mayUseHost } from '../../../store/api-keys.ts';
import type { HostStore } from '../../../store/hosts.ts';
import type { Api } from '../../instance.ts';
import type { PageTokens } from '../../page-tokens.ts';
import { LabelFilter, labelsIn, PageFields } from '../jobs/filter.ts';
import { visibleHost } from './access.ts';
import { HOST_PATH, HostParams } from './path.ts';
import { HostView, hostView } from './view.ts';

export interface ReadHostDeps {
  hosts: Pick<HostStore, 'get' | 'list' | 'health' | 'jobCounts'>;
  pageTokens: PageTokens;
}

const HostList = Type.Object({
  items: Type.Array(HostView),
  next_page_token: Type.Unsafe<string | null>({
    type: ['string', 'null'],
    description: 'For the next page; null at the end. A page may be short without being the last.',
  }),
});

export function readHostRoutes(app: Api, { hosts, pageTokens }: ReadHostDeps): void {
  const show = async (host: HostConfig) => {
    const [health, jobs] = await Promise.all([hosts.health(host.name), hosts.jobCounts(host.name)]);
    return hostView(host, health, jobs);
  };

  app.get(
    '/v1/hosts',
    {
      config: { scope: 'hosts:read' },
      schema: {
        tags: ['Hosts'],
        summary: 'List the registered hosts',
        description: 'By name; those that the key may use, and that have all of the labels.',
        querystring: Type.Object({ label: LabelFilter, ...PageFields }, { additionalProperties: false }),
        response: { 200: HostList },
      },
    },
    async ({ query, caller }) => {
      const labels = labelsIn(query.label);
      const filters = ['hosts', caller.name, labels];
      const after = pageTokens.read(query.page_token, filters);
      const page = await hosts.list({ size: query.page_size, labels, ...(after !== undefined && { after }) });
      const visible = page.hosts.filter(({ name }) => mayUseHost(caller, name));
      return {
        items: await Promise.all(visible.map(show)),
        next_page_token: pageTokens.issue(page.after, filters),
      };
    },
  );

  app.get(
    HOST_PATH,
    {
      config: { scope: 'hosts:read' },
      schema: {
        tags: ['Hosts'],
        summary: 'Read a host',
        params: HostParams,
        response: { 200: HostView },
      },
    },
    async ({ params, caller }) => show(visibleHost(caller, params.name, await hosts.get(params.name))),
  );
}
