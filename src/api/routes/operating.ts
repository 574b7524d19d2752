/** For those who run the gateway: alive, ready, and how it is doing. These answer without a key. */
import type { Registry } from 'prom-client';
import Type from 'typebox';
import { ERRORS, type ErrorCode, SluiceError } from '../../job/errors.ts';
import type { Unready } from '../../store/redis/readiness.ts';
import type { Api } from '../instance.ts';

export interface OperatingDeps {
  readiness: () => Promise<Unready[]>;
  registry: Registry;
}

const ErrorClass = Type.Object({
  code: Type.String(),
  status: Type.Integer({ description: 'The HTTP status.' }),
  title: Type.String({ description: 'What it means.' }),
  retry: Type.String({
    description:
      '`never`: it would fail again; `safe`: nothing was done; `reconcile`: look before repeating it.',
  }),
});

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
    '/problems/:code',
    {
      schema: {
        tags: ['Operating'],
        summary: 'What a code of a problem means',
        params: Type.Object({ code: Type.String({ description: 'The `code` of a problem document.' }) }),
        response: { 200: ErrorClass },
      },
    },
    async ({ params: { code } }) => {
      if (!Object.hasOwn(ERRORS, code)) throw new SluiceError('not_found', `there is no code ${code}`);
      return { code, ...ERRORS[code as ErrorCode] };
    },
  );

  app.get(
    '/metrics',
    { schema: { tags: ['Operating'], summary: 'Metrics for Prometheus', produces: ['text/plain'] } },
    async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()),
  );
}
