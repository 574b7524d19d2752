/** The OpenAPI document, made from the schemas that validate, and the page that shows it. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { PROBLEM_CONTENT_TYPE, Problem } from '../../protocol/problem.ts';
import { SCOPES } from '../../store/api-keys.ts';

/** Registered before the routes, which it collects. */
export async function describeApi(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Sluice',
        version,
        description:
          'A job gateway: runs commands on hosts through their agents. Times are RFC 3339 in UTC, durations in ' +
          'seconds, sizes in bytes. Every error is a problem document (RFC 9457) with a stable `code`.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: {
        securitySchemes: {
          bearer: {
            type: 'http',
            scheme: 'bearer',
            description: `An API key. Scopes: ${SCOPES.join(', ')}.`,
          },
          agentToken: { type: 'apiKey', in: 'header', name: 'X-Agent-Token', description: 'The same key.' },
        },
      },
      tags: [
        { name: 'Jobs', description: 'One command on one host.' },
        { name: 'Hosts', description: 'Where commands run.' },
        { name: 'Webhooks', description: 'Who is told of changes.' },
        { name: 'Operating', description: 'For those who run the gateway; these answer without a key.' },
      ],
    },
    transform: ({ schema, url, route }) => {
      const { scope } = route.config ?? {};
      if (scope === undefined) return { schema, url };
      const response = { ...(schema?.response as object), default: PROBLEM };
      const security = [{ bearer: [] }, { agentToken: [] }];
      const description = [schema?.description, `Scope: \`${scope}\`.`].filter(Boolean).join(' ');
      return { schema: { ...schema, description, security, response }, url };
    },
  });
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true });
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  app.get('/', { schema: { hide: true } }, async (_request, reply) => reply.redirect('/docs'));
}

const PROBLEM = {
  description: 'Any error.',
  content: { [PROBLEM_CONTENT_TYPE]: { schema: Problem } },
};
