/**
 * `POST /v1/hosts/{name}:drain` and `:resume`: no new starts on a host, and again. Running jobs go on, are followed
 * and can be canceled; what waits for the host stays `queued`.
 */
import Type from 'typebox';
import type { HostStore } from '../../../store/hosts.ts';
import type { Api } from '../../instance.ts';
import { requireHost, visibleHost } from './access.ts';
import type { LookAgain } from './look-again.ts';
import { HOST_PATH, HostParams } from './path.ts';
import { HostView, hostView } from './view.ts';

export interface DrainHostDeps {
  hosts: Pick<HostStore, 'get' | 'health' | 'jobCounts' | 'setDraining'>;
  lookAgain: LookAgain;
}

export function drainHostRoutes(app: Api, { hosts, lookAgain }: DrainHostDeps): void {
  for (const [verb, draining, summary] of [
    ['drain', true, 'Start nothing new on a host'],
    ['resume', false, 'Start jobs on a drained host again'],
  ] as const) {
    app.post(
      `${HOST_PATH}::${verb}`,
      {
        config: { scope: 'hosts:write', audit: `host.${verb}`, bodyOptional: true },
        schema: {
          tags: ['Hosts'],
          summary,
          description: 'Running jobs go on. The host answers with `status` `draining` until it is resumed.',
          params: HostParams,
          body: Type.Object({}, { additionalProperties: false }),
          response: { 200: HostView },
        },
      },
      async (request) => {
        const { name } = request.params;
        request.audited.host = name;
        const host = visibleHost(request.caller, name, await hosts.get(name));
        requireHost(request.caller, name);
        await hosts.setDraining(name, draining);
        if (!draining) lookAgain(name);
        const [health, jobs] = await Promise.all([hosts.health(name), hosts.jobCounts(name)]);
        return hostView(host, health, jobs);
      },
    );
  }
}
