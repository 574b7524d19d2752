/** The file by which supervisors tell the agent at once that something happened to a job. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Job } from '../../src/agent/registry.ts';
import { watchJobs } from '../../src/agent/watch.ts';
import { startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

let folder: string;
let nudges: string;
let followed: string[];
let watcher: ReturnType<typeof watchJobs>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'agent-nudges-'));
  nudges = join(folder, 'nudges');
  followed = [];
  writeFileSync(nudges, 'before\n');
  watcher = watchJobs({
    nudges,
    // None is live: what is looked at all the same was told.
    registry: { live: () => [], get: (id) => ({ record: { job_id: id } }) as Job },
    follow: async ({ record }) => void followed.push(record.job_id),
    outputs: { look: async () => undefined },
    log: pino({ enabled: false }),
  });
});
afterEach(() => {
  watcher.close();
  rmSync(folder, { recursive: true });
});

it('is read as it grows, line by line', async () => {
  appendFileSync(nudges, 'one\nt');
  await until(() => followed.includes('one'));
  appendFileSync(nudges, 'wo\n');
  await until(() => followed.includes('two'));
  expect(followed).toEqual(['one', 'two']);
});

it('is cut when much of it was read, and read on', async () => {
  appendFileSync(nudges, 'many\n'.repeat(20_000));
  await until(() => statSync(nudges).size === 0);
  appendFileSync(nudges, 'after\n');
  await until(() => followed.includes('after'));
  expect(followed.filter((id) => id === 'many')).toHaveLength(20_000);
});

it('is read from its beginning where somebody else cut it', async () => {
  writeFileSync(nudges, 'x\n');
  await until(() => followed.includes('x'));
});

it('has the id of each job when its command begins and when it is over', async () => {
  const agent = await startRealAgent();
  try {
    await agent.call('POST', '/run', { job_id: 'told', command: 'true', wait_seconds: 20 });
    await until(() => readFileSync(join(agent.dataDir, 'nudges'), 'utf8') === 'told\ntold\n');
  } finally {
    await agent.stop();
  }
});
