import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startAgent } from '../../src/agent/main.ts';
import { recoverJobs } from '../../src/agent/recover.ts';
import { createRegistry } from '../../src/agent/registry.ts';
import { createRetention } from '../../src/agent/retention.ts';
import { openSpool } from '../../src/agent/spool.ts';
import { call } from '../helpers/real-agent.ts';

const DAY_MS = 24 * 3600 * 1000;
const silent = { info: () => {}, warn: () => {}, error: () => {} };

let dataDir: string;
beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'agent-retention-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 }));

/** Runs one job to its end in an agent of this process, and closes the agent. */
async function runOne(id: string): Promise<void> {
  const tokenFile = join(dataDir, 'token');
  const agent = await startAgent({ listen: '127.0.0.1:0', dataDir, tokenFile, log: silent });
  const { readFileSync } = await import('node:fs');
  const headers = { 'x-agent-token': readFileSync(tokenFile, 'utf8').trim() };
  const body = { job_id: id, command: 'exit 3', wait_seconds: 20 };
  expect((await call(agent.address, 'POST', '/run', body, headers)).body.return_code).toBe(3);
  await agent.close();
}

function reopen() {
  const spool = openSpool(dataDir);
  const registry = createRegistry();
  const retention = createRetention({ spool, registry, cgroup: null, log: silent });
  retention.load();
  recoverJobs({ spool, registry, log: silent });
  return { spool, registry, retention };
}

it('output goes after 7 days, the token stays known until 30 days after the end, then it is forgotten', async () => {
  await runOne('old');
  const first = reopen();
  await first.retention.sweep(Date.now() + 6 * DAY_MS);
  expect(existsSync(first.spool.jobDir('old'))).toBe(true);
  await first.retention.sweep(Date.now() + 8 * DAY_MS);
  expect(existsSync(first.spool.jobDir('old'))).toBe(false);
  expect(first.registry.get('old')).toMatchObject({ cleared: true, outcome: { returnCode: 3 } });

  const second = reopen();
  expect(second.registry.get('old')).toMatchObject({
    cleared: true,
    state: 'ended',
    outcome: { returnCode: 3 },
  });
  await second.retention.sweep(Date.now() + 29 * DAY_MS);
  expect(second.registry.get('old')).toBeDefined();
  await second.retention.sweep(Date.now() + 32 * DAY_MS);
  expect(second.registry.get('old')).toBeUndefined();
  expect(readdirSync(second.spool.archiveDir)).toEqual([]);
});
