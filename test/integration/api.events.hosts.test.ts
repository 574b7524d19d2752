/** Changes of hosts on the stream of all changes: who hears of them, in which order, and what they leave alone. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { createFeed, type JobChange } from '../../src/store/feed.ts';
import { connectForBlocking } from '../../src/store/redis.ts';
import { ADMIN_TOKEN, startTestApi, type TestApi } from '../helpers/api.ts';
import { followEvents } from '../helpers/event-stream.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

const SILENT = { status: 'unreachable', cause: 'no answer', remedy: null } as const;
const REFUSED = { status: 'misconfigured', cause: 'token refused', remedy: 'set it' } as const;

let redis: TestRedis;
let api: TestApi;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
});
afterAll(async () => {
  await api?.stop();
  await redis?.stop();
});
beforeEach(async () => {
  await api.redis.flushall();
  await api.hosts.put('web1', { address: '127.0.0.1:1', token: 'agent-token' });
  await api.hosts.put('db1', { address: '127.0.0.1:2', token: 'agent-token' });
});

const statusOf = async (host: string) => (await api.call('GET', `/v1/hosts/${host}`)).body.status;

test('each change of status is told once, with its cause, and shows in GET /v1/hosts', async () => {
  const stream = await followEvents(api.url, ADMIN_TOKEN);
  for (const status of ['suspect', 'suspect', 'down', 'down']) {
    await api.hosts.failed('web1', SILENT);
    expect(await statusOf('web1')).toBe(status);
  }
  await api.hosts.contacted('web1');
  await api.hosts.contacted('web1');
  expect(await statusOf('web1')).toBe('up');
  await api.hosts.failed('web1', REFUSED);
  expect(await statusOf('web1')).toBe('misconfigured');
  await stream.hears('host.misconfigured', 'web1');
  expect(stream.seen.map(({ event, data }) => [event, data])).toEqual([
    ['host.suspect', { host: 'web1', cause: 'no answer' }],
    ['host.down', { host: 'web1', cause: 'no answer' }],
    ['host.up', { host: 'web1', cause: null }],
    ['host.misconfigured', { host: 'web1', cause: 'token refused' }],
  ]);
  await stream.close();
});

test('draining and resuming are told where they change something', async () => {
  const stream = await followEvents(api.url, ADMIN_TOKEN);
  for (const verb of ['drain', 'drain', 'resume', 'resume']) {
    expect((await api.call('POST', `/v1/hosts/web1:${verb}`)).status).toBe(200);
  }
  await stream.hears('host.resumed', 'web1');
  expect(stream.seen.map(({ event }) => event)).toEqual(['host.draining', 'host.resumed']);
  await stream.close();
});

test('only keys with hosts:read hear of hosts, and only of those that their patterns name', async () => {
  const keys = {
    jobs: await api.key('jobs-only', { scopes: ['jobs:read'] }),
    web: await api.key('web-only', { scopes: ['jobs:read', 'hosts:read'], hosts: ['web*'] }),
  };
  const streams = {
    jobs: await followEvents(api.url, keys.jobs),
    web: await followEvents(api.url, keys.web),
    admin: await followEvents(api.url, ADMIN_TOKEN),
  };
  await api.hosts.failed('db1', SILENT);
  await api.hosts.failed('web1', SILENT);
  await streams.web.hears('host.suspect', 'web1');
  await streams.admin.hears('host.suspect', 'web1');
  expect(streams.web.seen.map(({ data }) => data.host)).toEqual(['web1']);
  expect(streams.admin.seen.map(({ data }) => data.host)).toEqual(['db1', 'web1']);
  expect(streams.jobs.seen).toEqual([]);
  for (const stream of Object.values(streams)) await stream.close();
});

test('Last-Event-ID resumes among jobs and hosts alike', async () => {
  const body = { target_server: 'web1', command: 'true' };
  const first = await followEvents(api.url, ADMIN_TOKEN);
  await api.call('POST', '/v1/jobs', { body });
  await api.hosts.failed('web1', SILENT);
  const { id: place } = await first.hears('host.suspect', 'web1');
  await first.close();
  await api.hosts.contacted('web1');
  await api.call('POST', '/v1/jobs', { body });
  await api.hosts.failed('db1', SILENT);
  const second = await followEvents(api.url, ADMIN_TOKEN, place);
  await second.hears('host.suspect', 'db1');
  expect(second.seen.map(({ event }) => event)).toEqual(['host.up', 'job.queued', 'host.suspect']);
  await second.close();
});

test('whoever listens for jobs is not told of hosts', async () => {
  const subscriber = connectForBlocking(parseRedisUrl(redis.url), 'test-jobs');
  const feed = await createFeed({ redis: api.redis, subscriber, keys: api.keys, hears: 'everything' });
  const jobs: JobChange[] = [];
  let hosts = 0;
  feed.onChange((change) => void jobs.push(change));
  feed.onHostChange(() => void hosts++);
  await api.hosts.failed('web1', SILENT);
  await api.call('POST', '/v1/jobs', { body: { target_server: 'web1', command: 'true' } });
  await until(() => jobs.length > 0 && hosts > 0);
  expect(jobs.map(({ type }) => type)).toEqual(['job.queued']);
  await feed.close();
});

test('a host that is removed is counted no more', async () => {
  await api.hosts.failed('web1', SILENT);
  await api.hosts.setDraining('web1', true);
  const counted = async () =>
    (await api.call('GET', '/metrics', { token: '' })).text.match(/^sluice_hosts\{.*[1-9]$/gm);
  await until(async () => (await counted())?.length === 2);
  expect((await api.call('DELETE', '/v1/hosts/web1')).status).toBe(204);
  await until(async () => (await counted()) === null);
});
