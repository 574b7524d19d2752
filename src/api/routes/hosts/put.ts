/** `PUT /v1/hosts/{name}`: registers a host, or changes what is sent and nothing else. */
import type { HostStore } from '../../../store/hosts.ts';
import type { Api } from '../../instance.ts';
import { requireHost } from './access.ts';
import type { LookAgain } from './look-again.ts';
import { HOST_PATH, HostParams } from './path.ts';
import { PutBody, toPatch } from './put.schema.ts';
import { HostView, hostView } from './view.ts';

export interface PutHostDeps {
  hosts: Pick<HostStore, 'put' | 'health' | 'jobCounts'>;
  lookAgain: LookAgain;
}

export function putHostRoute(app: Api, { hosts, lookAgain }: PutHostDeps): void {
  app.put(
    HOST_PATH,
    {
      config: { scope: 'hosts:write', audit: 'host.put' },
      schema: {
        tags: ['Hosts'],
        summary: 'Register or change a host',
        description:
          'A field that is left out keeps its value; null takes it back to its default. New limits hold at once, ' +
          'also for what waits already.',
        params: HostParams,
        body: PutBody,
        response: { 200: HostView, 201: HostView },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      Object.assign(request.audited, { host: name, fields: Object.keys(request.body) });
      requireHost(request.caller, name);
      const { host, created } = await hosts.put(name, toPatch(request.body));
      lookAgain(name);
      const [health, jobs] = await Promise.all([hosts.health(name), hosts.jobCounts(name)]);
      return reply.code(created ? 201 : 200).send(hostView(host, health, jobs));
    },
  );
}
