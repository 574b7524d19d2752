/** For those who run the gateway: alive, ready, and how it is doing. These answer without a key. */
import type { Registry } from 'prom-client';
import Type from 'typebox';
import { SluiceError } from '../../job/errors.ts';
import type { Api } from '../instance.ts';
import type { Unready } from '../readiness.ts';

export interface OperatingDeps {
  readiness: () => Promise<Unready[]>;
  registry: Registry;
}

const Status = Type.Object({ status: Type.String() });

export function operatingRoutes(app: Api, { readiness, registry }: OperatingDeps): void {
  app.get(
    '/livez',
    {
      schema: {
        tags: ['Operating'],
        summary: 'The process is alive',
        response: { 200: Status },
      },
    },
    async () => ({ status: 'alive' }),
  );

  app.get(
    '/readyz',
    {
      schema: {
        tags: ['Operating'],
        summary: 'Requests may be sent here',
        description:
          'Redis answers, keeps what it is told (AOF), drops nothing (noeviction) and has room; else 503.',
        response: { 200: Status },
      },
    },
    async () => {
      const wrong = await readiness();
      if (wrong.length === 0) return { status: 'ready' };
      const detail = wrong.map(({ what, remedy }) => `${what}; ${remedy}`).join('. ');
      throw new SluiceError('store_unavailable', detail, { fields: { retry_after: 5, checks: wrong } });
    },
  );

  app.get(
    '/metrics',
    { schema: { tags: ['Operating'], summary: 'Metrics for Prometheus', produces: ['text/plain'] } },
    async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()),
  );
}
