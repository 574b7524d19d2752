import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startAgent } from '../../src/agent/main.ts';
import { recoverJobs } from '../../src/agent/recover.ts';
import { createRegistry } from '../../src/agent/registry.ts';
import { createRetention } from '../../src/agent/retention.ts';
import { openSpool } from '../../src/agent/spool.ts';
import { call } from '../helpers/real-agent.ts';

const isRoot = process.getuid?.() === 0;
const HOUR_MS = 3600 * 1000;
const DAY_MS = 24 * HOUR_MS;
/** More levels than a path may have characters. */
const DEEP = 'i=0; while [ $i -lt 90 ]; do d=$(printf %060d $i); mkdir $d && cd -P ./$d; i=$((i+1)); done';
const silent = { info: () => {}, warn: () => {}, error: () => {} };

let dataDir: string;
beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'agent-retention-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 }));

/** Runs one job to its end in an agent of this process, and closes the agent. */
async function runOne(id: string, command = 'exit 3'): Promise<void> {
  const tokenFile = join(dataDir, 'token');
  const agent = await startAgent({ listen: '127.0.0.1:0', dataDir, tokenFile, log: silent });
  const { readFileSync } = await import('node:fs');
  const headers = { 'x-agent-token': readFileSync(tokenFile, 'utf8').trim() };
  const body = { job_id: id, command, wait_seconds: 20 };
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

it.skipIf(!isRoot)(
  'clears old output early where the disk is tight, but none of the last hour (needs root)',
  async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=160m,mode=0711', 'tmpfs', dataDir]);
    try {
      await runOne('older', 'head -c 100m /dev/zero; exit 3');
      await runOne('newer');
      const { spool, registry, retention } = reopen();
      await retention.sweep(Date.now());
      expect(existsSync(spool.jobDir('older'))).toBe(true);
      await retention.sweep(Date.now() + 2 * HOUR_MS);
      expect(existsSync(spool.jobDir('older'))).toBe(false);
      expect(existsSync(spool.jobDir('newer'))).toBe(true);
      expect(registry.get('older')).toMatchObject({ cleared: true, outcome: { returnCode: 3 } });
    } finally {
      execFileSync('umount', [dataDir]);
    }
  },
);

it('is not held up by a directory without end, nor by one that is gone', async () => {
  await runOne('deep');
  await runOne('gone');
  await runOne('after');
  execFileSync('sh', ['-c', `cd ${join(dataDir, 'jobs/deep/u')}; ${DEEP}`]);
  rmSync(join(dataDir, 'jobs/gone'), { recursive: true });
  const { spool, registry, retention } = reopen();
  await retention.sweep(Date.now() + 8 * DAY_MS);
  expect(readdirSync(join(dataDir, 'jobs'))).toEqual([]);
  expect(readdirSync(join(dataDir, 'incoming'))).toEqual([]);
  expect(registry.get('after')?.cleared).toBe(true);
  expect(spool.jobIds()).toEqual([]);
});

it('keeps a token whose line follows one that a full disk has torn', async () => {
  await runOne('torn');
  await runOne('whole');
  const first = reopen();
  const line = JSON.stringify({ record: first.registry.get('torn')?.record }).slice(0, 40);
  const day = first.registry.get('whole')!.outcome!.endedAt.slice(0, 10);
  writeFileSync(join(first.spool.archiveDir, `${day}.jsonl`), line);
  await first.retention.sweep(Date.now() + 8 * DAY_MS);
  expect(reopen().registry.get('whole')).toMatchObject({ cleared: true });
  expect(reopen().registry.get('torn')).toMatchObject({ cleared: true });
});

it.skipIf(!isRoot)(
  'never deletes through a link that a directory becomes meanwhile (needs root)',
  async () => {
    const outside = join(dataDir, 'outside');
    mkdirSync(outside);
    const names = Array.from({ length: 300 }, (_, index) => `f${index}`);
    const { spool } = reopen();
    for (let round = 0; round < 15; round++) {
      const id = `race-${round}`;
      const u = join(spool.jobDir(id), 'u');
      mkdirSync(join(u, 'a'), { recursive: true });
      for (const name of names) {
        writeFileSync(join(u, 'a', name), '');
        writeFileSync(join(outside, name), '');
      }
      // As a process that its user has left there would do it: from within, wherever the directory is moved.
      const swap = `cd ${u}; echo; i=0; while [ $i -lt 400 ]; do mv -T a b && ln -s ${outside} a; rm -f a; mv -T b a; i=$((i+1)); done`;
      const attacker = spawn('sh', ['-c', swap], { stdio: ['ignore', 'pipe', 'ignore'] });
      await new Promise((resolve) => attacker.stdout.once('data', resolve));
      await spool.remove(id);
      attacker.kill('SIGKILL');
      expect(readdirSync(outside).length).toBe(names.length);
    }
  },
  30_000,
);
