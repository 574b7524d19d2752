/**
 * What `accept` is compared with: bare Fastify with the same schema, key check, request log and metrics as the
 * gateway, which stores nothing (`bare`) or adds one BullMQ job per request (`queue`).
 *
 *     node bench/bare-server.ts bare|queue PORT      (SLUICE_API_KEY, REDIS_URL)
 */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { Queue } from 'bullmq';
import { fastify } from 'fastify';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { Counter, Histogram, Registry } from 'prom-client';
import { createIds } from '../src/api/ids.ts';
import { SubmitBody } from '../src/api/routes/jobs/submit.schema.ts';
import { createValidatorCompiler } from '../src/api/validation.ts';
import { NOT_STARTED } from '../src/job/record.ts';
import { JobView, jobView } from '../src/protocol/job-view.ts';
import { USUAL } from '../src/store/jobs/codec.ts';

// As the gateway makes them: a random one for each would cost a third of a request.
const ulid = createIds();
const [kind, port] = process.argv.slice(2);
const digest = (text: string) => createHash('sha256').update(text).digest();
const expected = digest(process.env.SLUICE_API_KEY ?? '');

const registry = new Registry();
const requests = new Counter({
  name: 'requests_total',
  help: 'Requests.',
  labelNames: ['method', 'route', 'status'],
  registers: [registry],
});
const duration = new Histogram({
  name: 'duration_seconds',
  help: 'Durations.',
  labelNames: ['method', 'route'],
  registers: [registry],
});

/** A client as one makes it for BullMQ. */
const redis = new Redis(process.env.REDIS_URL ?? '', { maxRetriesPerRequest: null });
const queue = kind === 'queue' ? new Queue('bench', { connection: redis, prefix: '{bench}' }) : null;

const app = fastify({
  loggerInstance: pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }),
  disableRequestLogging: true,
  genReqId: () => `req_${randomUUID()}`,
});
app.setValidatorCompiler(createValidatorCompiler());
app.addHook('onRequest', async (request, reply) => {
  const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
  if (!timingSafeEqual(digest(token), expected)) await reply.code(401).send({ code: 'unauthenticated' });
});
app.addHook('onResponse', async (request, reply) => {
  const labels = { method: request.method, route: request.routeOptions.url ?? 'none' };
  requests.inc({ ...labels, status: reply.statusCode });
  duration.observe(labels, reply.elapsedTime / 1_000);
  request.log.info(
    { ...labels, key: 'bench', status: reply.statusCode, duration_ms: reply.elapsedTime },
    'submit',
  );
});
app.post<{ Body: SubmitBody }>(
  '/v1/jobs',
  { schema: { body: SubmitBody, response: { 202: JobView } } },
  async ({ body }, reply) => {
    const created_at = Date.now();
    const job = {
      ...NOT_STARTED,
      ...USUAL,
      id: `job_${ulid(created_at)}`,
      target_server: body.target_server,
      host: body.target_server,
      command: body.command,
      labels: body.labels ?? {},
      created_by: 'bench',
      created_at,
      state: 'queued' as const,
      version: 1,
    };
    await queue?.add('job', job, { jobId: job.id });
    return reply.code(202).send(jobView(job));
  },
);
await app.listen({ host: '127.0.0.1', port: Number(port) });
console.log('bare.started');
process.once('SIGTERM', async () => {
  await app.close();
  redis.disconnect();
  process.exit(0);
});
