/**
 * Processes that die between the two steps of a replacement, and in the midst of a retry: whoever comes after them
 * goes on. Starts are counted by the host, in a file that each command writes to.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CrashPoint } from '../../src/job/crash-points.ts';
import type { JobView } from '../../src/protocol/job-view.ts';
import { isAlive } from '../helpers/alive.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { freePort, startRedis, type TestRedis } from '../helpers/redis.ts';
import { createCaller, type SluiceProcess, startSluice } from '../helpers/sluice-process.ts';
import { until } from '../helpers/until.ts';

const KEY = `test-${randomBytes(16).toString('hex')}`;
const PATIENCE = { timeoutMs: 60_000, everyMs: 100 };

let dir: string;
let redis: TestRedis;
let agent: RealAgent;
let env: Record<string, string>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-attempts-'));
  [redis, agent] = await Promise.all([startRedis(), startRealAgent()]);
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  env = { REDIS_URL: redis.url, SLUICE_SECRET_KEY_FILE: secretKeyFile, SLUICE_API_KEY: KEY };
});
afterAll(async () => {
  await agent?.stop();
  await redis?.stop();
  await rm(dir, { recursive: true, force: true });
});

interface Gateway {
  submit(body: object, key?: string): Promise<JobView | null>;
  read(id: string): Promise<JobView>;
  /** Waits for the death, and starts another process in its place. */
  succeed(): Promise<void>;
}

/** An API and a worker, one of which dies at a point. */
async function withGateway(
  name: string,
  dies: { api?: `${CrashPoint}:${number}`; worker?: CrashPoint },
  work: (gateway: Gateway) => Promise<void>,
): Promise<void> {
  const port = await freePort();
  const own = { ...env, SLUICE_PREFIX: `{${name}}` };
  const all: SluiceProcess[] = [];
  const start = async (program: 'api' | 'worker', crashAt = '') => {
    const args = program === 'api' ? ['api', '--listen', `127.0.0.1:${port}`] : ['worker'];
    const more = crashAt === '' ? {} : { SLUICE_CRASH_AT: crashAt };
    const started = await startSluice(
      args,
      { ...own, ...more },
      new RegExp(`"msg":"${program}s?\\.started"`),
    );
    all.push(started);
    return started;
  };
  try {
    const [api, worker] = [await start('api', dies.api), await start('worker', dies.worker)];
    const call = createCaller(() => `http://127.0.0.1:${port}`, KEY);
    const { address, token, fingerprint } = agent;
    await call('PUT', '/v1/hosts/web1', { address, token, tls: { fingerprint } });
    await work({
      async submit(body, key) {
        const headers = key === undefined ? {} : { 'idempotency-key': `"${key}"` };
        // Whoever dies gives no answer.
        const reply = await call('POST', '/v1/jobs', { target_server: 'web1', ...body }, headers).catch(
          () => null,
        );
        return reply && (reply.body as unknown as JobView);
      },
      read: async (id) => (await call('GET', `/v1/jobs/${id}`)).body as unknown as JobView,
      async succeed() {
        const dying = dies.api ? api : worker;
        await until(() => !isAlive(dying.pid), PATIENCE);
        await start(dies.api ? 'api' : 'worker');
      },
    });
  } finally {
    for (const one of all) await one.kill();
  }
}

const lines = async (file: string) =>
  (await readFile(file, 'utf8').catch(() => '')).split('\n').filter(Boolean);
const stateOf = (gateway: Gateway, id: string, ...states: string[]) =>
  until(async () => {
    const job = await gateway.read(id);
    return states.includes(job.state) && job;
  }, PATIENCE);
/** Runs until it is stopped, and says so if it finds another one at work. */
const alone = (file: string) =>
  `[ -e ${file}.lock ] && echo beside >> ${file}; touch ${file}.lock; echo start >> ${file}; ` +
  `trap 'sleep 0.5; rm ${file}.lock; exit 0' TERM; while :; do sleep 0.1; done`;

it('an API that dies when it has accepted a replacement leaves its cancel and its start to the sweep', async () => {
  const file = join(dir, 'accepted');
  await withGateway('accepted', { api: 'accept.stored:2' }, async (gateway) => {
    const body = { unique_key: 'k', on_duplicate: 'replace', command: alone(file) };
    const first = (await gateway.submit(body)) as JobView;
    await stateOf(gateway, first.id, 'running');
    expect(await gateway.submit(body, 'again')).toBeNull();
    await gateway.succeed();
    await stateOf(gateway, first.id, 'succeeded', 'canceled');
    const second = (await gateway.submit(body, 'again')) as JobView;
    expect(second.id).not.toBe(first.id);
    await stateOf(gateway, second.id, 'running');
    await until(async () => (await lines(file)).length === 2);
    expect(await lines(file)).toEqual(['start', 'start']);
  });
}, 120_000);

it('a worker that dies when it has proven the old one gone leaves the start of the new one to another', async () => {
  const file = join(dir, 'proven');
  await withGateway('proven', { worker: 'cancel.settled' }, async (gateway) => {
    const body = { unique_key: 'k', on_duplicate: 'replace', command: alone(file) };
    const first = (await gateway.submit(body)) as JobView;
    await stateOf(gateway, first.id, 'running');
    const second = (await gateway.submit(body)) as JobView;
    await gateway.succeed();
    await stateOf(gateway, second.id, 'running');
    await until(async () => (await lines(file)).length === 2);
    expect(await lines(file)).toEqual(['start', 'start']);
  });
}, 120_000);

it.each(['dispatch.committed', 'dispatch.sent', 'dispatch.answered', 'dispatch.settled'] as const)(
  'a worker that dies at %s of a command that fails costs no attempt, and makes none',
  async (point) => {
    const name = point.replace('.', '-');
    const file = join(dir, name);
    await withGateway(name, { worker: point }, async (gateway) => {
      const command = `echo "$SLUICE_JOB_ID" >> ${file}; exit 3`;
      const retry = { max_attempts: 3, backoff_seconds: 0 };
      const { id } = (await gateway.submit({ command, retry })) as JobView;
      await gateway.succeed();
      const job = await stateOf(gateway, id, 'failed');
      expect(job.attempts.map(({ state }) => state)).toEqual(['failed', 'failed', 'failed']);
      expect(await lines(file)).toEqual([`${id}-1`, `${id}-2`, `${id}-3`]);
    });
  },
  120_000,
);
