/** The spool's disk full, out of inodes or read-only at each step of a job's life, and the way back. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canMount, createOwnDisk, type OwnDisk } from '../helpers/own-disk.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

const SHORTAGES = [
  { what: 'full', take: (disk: OwnDisk) => disk.fill() },
  { what: 'out of inodes', take: (disk: OwnDisk) => disk.takeAllInodes() },
];

describe.skipIf(!canMount())('an agent whose disk is (needs root and a loop device)', () => {
  let disk: OwnDisk;
  let agent: RealAgent;
  /** Outside of the disk: a command waits here for its turn, and counts its starts. */
  let scratch: string;
  beforeEach(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'agent-disk-'));
    disk = createOwnDisk({ megabytes: 64, inodes: 600 });
    agent = await startRealAgent({ dataDir: disk.path });
  });
  afterEach(async () => {
    disk.free();
    await agent.stop();
    disk.remove();
    rmSync(scratch, { recursive: true });
  });

  const start = (job_id: string, command: string, more = {}) =>
    agent.call('POST', '/run', { job_id, command, ...more });
  const look = async (id: string) => (await agent.call('GET', `/status/${id}`)).body;
  const over = (id: string) =>
    until(
      async () => {
        const job = await look(id);
        return ['ended', 'lost'].includes(job.state) && job;
      },
      { timeoutMs: 20_000, what: `the end of ${id}` },
    );
  const counted = (id: string) => `echo x >> ${scratch}/${id}`;
  const starts = (id: string) => readFileSync(join(scratch, id), 'utf8').length / 2;
  const waiting = (id: string) => `${counted(id)}; until [ -e ${scratch}/go-on ]; do sleep 0.05; done`;
  const begun = (id: string) => until(() => existsSync(join(scratch, id)));
  const goOn = () => writeFileSync(join(scratch, 'go-on'), '');

  it.each(SHORTAGES)(
    '$what starts nothing, says why, and starts the same once there is room',
    async ({ take }) => {
      take(disk);
      const refused = await start('waits', counted('waits'));
      expect(refused).toMatchObject({ status: 507, body: { error: 'disk_full' } });
      const tomb = await agent.call('POST', '/cancel/never-seen');
      expect(tomb).toMatchObject({ status: 507, body: { error: 'disk_full' } });
      expect((await look('waits')).state).toBe('unknown');
      disk.free();
      await start('waits', counted('waits'), { wait_seconds: 10 });
      expect(await over('waits')).toMatchObject({ reason: 'exit', return_code: 0 });
      expect(starts('waits')).toBe(1);
      expect((await agent.call('POST', '/cancel/never-seen')).body).toMatchObject({ reason: 'canceled' });
    },
  );

  it.each(SHORTAGES)(
    '$what when an accepted job is to begin starts it once there is room',
    async ({ take }) => {
      const retried = `${counted('accepted')}; exit 4`;
      await start('accepted', retried, { wait_seconds: 10 });
      await agent.kill('SIGKILL');
      rewind(agent.jobDir('accepted'));
      rmSync(join(scratch, 'accepted'));
      take(disk);
      await agent.restart();
      // It is tried again each second: these are three of them.
      await agent.call('POST', '/run', { job_id: 'accepted', command: retried, wait_seconds: 3 });
      expect((await look('accepted')).state).toBe('accepted');
      expect(existsSync(join(scratch, 'accepted'))).toBe(false);
      disk.free();
      expect(await over('accepted')).toMatchObject({ reason: 'exit', return_code: 4 });
      expect(starts('accepted')).toBe(1);
    },
  );

  it.each(['supervisor', 'in/hello', 'child', 'u/rc', 'u/note'])(
    'without room for %s of a job that is to begin certifies that it never did, and may be asked again',
    async (name) => {
      const command = `${counted('begins')}; exit 4`;
      await start('begins', command, { wait_seconds: 10 });
      await agent.kill('SIGKILL');
      rewind(agent.jobDir('begins'));
      rmSync(join(scratch, 'begins'));
      // No file can be made where a directory is.
      rmSync(join(agent.jobDir('begins'), name), { force: true });
      mkdirSync(join(agent.jobDir('begins'), name));
      await agent.restart();
      const job = await over('begins');
      expect(job).toMatchObject({ reason: 'never_ran', return_code: null });
      expect(job.message).toMatch(/disk/);
      expect(existsSync(join(scratch, 'begins'))).toBe(false);
      await start('begins', command, { wait_seconds: 10 });
      expect(await over('begins')).toMatchObject({ reason: 'exit', return_code: 4 });
      expect(starts('begins')).toBe(1);
    },
  );

  it('filled by a command lets it see the error itself, and ends it and its neighbour with their own codes', async () => {
    await start('neighbour', `${waiting('neighbour')}; echo late; exit 6`);
    await begun('neighbour');
    const job = await start('fills', 'head -c 100000000 /dev/zero; echo $? >&2; exit 9', {
      wait_seconds: 20,
    });
    expect(job.body).toMatchObject({ reason: 'exit', return_code: 9 });
    expect(job.body.stdout_bytes).toBeGreaterThan(30_000_000);
    goOn();
    expect(await over('neighbour')).toMatchObject({ reason: 'exit', return_code: 6 });
  });

  const ENDS = [
    { end: 'exit 7', is: { reason: 'exit', return_code: 7, signal: null } },
    { end: 'exit 137', is: { reason: 'exit', return_code: 137, signal: null } },
    { end: 'kill -KILL $$', is: { reason: 'signal', return_code: 137, signal: 'KILL' } },
  ];
  const MODES = [
    { mode: 'plain', use_tmux: false },
    { mode: 'tmux', use_tmux: true },
  ];
  const CASES = SHORTAGES.flatMap((shortage) => MODES.map((mode) => ({ ...shortage, ...mode })));

  it.each(CASES)('$what when a job ends still records how ($mode)', async ({ take, use_tmux }) => {
    for (const [index, { end }] of ENDS.entries()) {
      await start(`end-${index}`, `${waiting(`end-${index}`)}; ${end}`, { use_tmux });
      await begun(`end-${index}`);
    }
    take(disk);
    goOn();
    for (const [index, { is }] of ENDS.entries()) expect(await over(`end-${index}`)).toMatchObject(is);
    await agent.restart();
    for (const [index, { is }] of ENDS.entries()) expect(await look(`end-${index}`)).toMatchObject(is);
  });

  it.each(CASES)(
    '$what lets jobs be cancelled with proof, and keeps their timeouts ($mode)',
    async ({ take, use_tmux }) => {
      const stubborn = 'trap "" TERM; while :; do sleep 0.1; done';
      await start('stopped', `${counted('stopped')}; ${stubborn}`, { use_tmux });
      await start('limited', `${counted('limited')}; sleep 60`, { use_tmux, timeout_seconds: 3 });
      await begun('stopped');
      await begun('limited');
      take(disk);
      const { body } = await agent.call('POST', '/cancel/stopped', { grace_seconds: 0 });
      expect(body).toMatchObject({ reason: 'canceled', proof: 'group+marker', remaining_pids: [] });
      expect(await over('limited')).toMatchObject({ reason: 'timeout', return_code: null });
    },
  );

  it.each(SHORTAGES)(
    '$what when a job ends whose supervisor is dead still records its code',
    async ({ take }) => {
      await start('orphan', `${waiting('orphan')}; exit 8`);
      await begun('orphan');
      process.kill(
        Number(readFileSync(join(agent.jobDir('orphan'), 'supervisor'), 'utf8').split(' ')[0]),
        'SIGKILL',
      );
      take(disk);
      goOn();
      expect(await over('orphan')).toMatchObject({ reason: 'exit', return_code: 8 });
    },
  );

  it('read-only starts nothing, and says so', async () => {
    disk.makeReadOnly();
    const refused = await start('refused', counted('refused'));
    expect(refused).toMatchObject({ status: 507, body: { error: 'disk_full' } });
    expect(refused.body.message).toMatch(/read-only/);
    expect((await agent.call('POST', '/cancel/unseen')).status).toBe(507);
    disk.makeWritable();
    expect((await start('refused', counted('refused'), { wait_seconds: 10 })).body.return_code).toBe(0);
    expect(starts('refused')).toBe(1);
  });

  it('read-only while jobs end tells their true ends as soon as it can be written', async () => {
    for (const [index, { end }] of ENDS.entries()) {
      await start(`end-${index}`, `${waiting(`end-${index}`)}; ${end}`);
      await begun(`end-${index}`);
    }
    await start('stopped', `${counted('stopped')}; sleep 60`);
    await begun('stopped');
    disk.makeReadOnly();
    goOn();
    const canceled = (await agent.call('POST', '/cancel/stopped', { grace_seconds: 0 })).body;
    expect(canceled.state).toBe('running');
    expect((await look('end-0')).state).toBe('running');
    disk.makeWritable();
    for (const [index, { is }] of ENDS.entries()) expect(await over(`end-${index}`)).toMatchObject(is);
    expect((await over('stopped')).reason).toMatch(/canceled|signal/);
  });

  it('read-only when it starts says so and ends; its jobs are known when it is back', async () => {
    await start('goes-on', `${waiting('goes-on')}; exit 5`);
    await begun('goes-on');
    await agent.kill('SIGKILL');
    disk.makeReadOnly();
    await expect(agent.restart()).rejects.toThrow(/read-only/);
    disk.makeWritable();
    await agent.restart();
    goOn();
    expect(await over('goes-on')).toMatchObject({ reason: 'exit', return_code: 5 });
  });
});

/** Takes a job's directory back to how it was when it had been accepted and not started. */
function rewind(dir: string): void {
  const made = [
    'started',
    'go',
    'child',
    'supervisor',
    'keeper',
    'finishing',
    'reason',
    'result.json',
    'exit',
  ];
  for (const name of [...made, 'in/gate', 'in/hello', 'u/rc', 'u/note', 'u/over']) {
    rmSync(join(dir, name), { recursive: true, force: true });
  }
  writeFileSync(join(dir, 'exit.new'), '\n'.repeat(512));
}
