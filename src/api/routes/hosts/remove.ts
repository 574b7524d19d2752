/** `DELETE /v1/hosts/{name}`: only without active jobs, because nobody could be asked about them any more. */
import Type from 'typebox';
import type { HostStore } from '../../../store/hosts.ts';
import type { Api } from '../../instance.ts';
import { visibleHost } from './access.ts';
import { HOST_PATH, HostParams } from './path.ts';

export function removeHostRoute(app: Api, { hosts }: { hosts: Pick<HostStore, 'get' | 'remove'> }): void {
  app.delete(
    HOST_PATH,
    {
      config: { scope: 'hosts:write', audit: 'host.remove' },
      schema: {
        tags: ['Hosts'],
        summary: 'Remove a host',
        description: '409 `host_has_active_jobs` while it has jobs that are not over.',
        params: HostParams,
        response: { 204: Type.Null({ description: 'Removed.' }) },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      request.audited.host = name;
      const host = visibleHost(request.caller, name, await hosts.get(name));
      if (!(await hosts.remove(host.name))) visibleHost(request.caller, name, null);
      return reply.code(204).send(null);
    },
  );
}
