/** `POST /v1/hosts/{name}:check`: asks the host now, and says what to do about what is wrong. */
import Type from 'typebox';
import type { HostConfig } from '../../../job/host.ts';
import type { HostStore } from '../../../store/hosts.ts';
import { CHECKS, type Check } from '../../host-checks.ts';
import type { Api } from '../../instance.ts';
import { visibleHost } from './access.ts';
import { HOST_PATH, HostParams } from './path.ts';

export interface CheckHostDeps {
  hosts: Pick<HostStore, 'get'>;
  checkHost: (host: HostConfig) => Promise<Check[]>;
}

const text = (description: string) => Type.Unsafe<string | null>({ type: ['string', 'null'], description });

const CheckReply = Type.Object({
  host: Type.String(),
  ok: Type.Boolean({ description: 'Nothing was found to be wrong.' }),
  checks: Type.Array(
    Type.Object({
      name: Type.Unsafe<Check['name']>({ type: 'string', enum: [...CHECKS] }),
      ok: Type.Unsafe<boolean | null>({
        type: ['boolean', 'null'],
        description: 'Null: it could not be told, or does not apply.',
      }),
      cause: text('What is wrong.'),
      remedy: text('What to do about it.'),
    }),
  ),
});

export function checkHostRoute(app: Api, { hosts, checkHost }: CheckHostDeps): void {
  app.post(
    `${HOST_PATH}::check`,
    {
      config: { scope: 'hosts:write', audit: 'host.check', bodyOptional: true },
      schema: {
        tags: ['Hosts'],
        summary: 'Ask a host now',
        description: 'Reachable, certificate, token, users, launcher and clock, with what to do about each.',
        params: HostParams,
        body: Type.Object({}, { additionalProperties: false }),
        response: { 200: CheckReply },
      },
    },
    async (request) => {
      const { name } = request.params;
      request.audited.host = name;
      const host = visibleHost(request.caller, name, await hosts.get(name));
      const checks = await checkHost(host);
      return { host: name, ok: checks.every(({ ok }) => ok !== false), checks };
    },
  );
}
