/** `POST /ping` and `POST /status`: what a gateway learns, and how soon. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Compile } from 'typebox/compile';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PingReply, StatusReply } from '../../src/protocol/agent.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';

let agent: RealAgent;
beforeAll(async () => {
  agent = await startRealAgent();
});
afterAll(() => agent.stop());

const status = async (body: Record<string, unknown>) => (await agent.call('POST', '/status', body)).body;

describe('POST /ping', () => {
  it('says what the agent can do, and on which boot and spool', async () => {
    const { body } = await agent.call('POST', '/ping');
    expect(Compile(PingReply).Check(body)).toBe(true);
    expect(body).toMatchObject({
      status: 'ok',
      protocol: 2,
      boot_id: expect.any(String),
      store_id: expect.any(String),
    });
    expect(body.capabilities).toEqual(
      expect.arrayContaining(['idempotent_run', 'batch_status', 'status_wait', 'secret_env']),
    );
    expect(body).not.toHaveProperty('users');
  });
});

describe('POST /status', () => {
  it('answers for many jobs at once, without output, unknown ones included', async () => {
    await agent.call('POST', '/run', { job_id: 'one', command: 'echo x; exit 1', wait_seconds: 10 });
    await agent.call('POST', '/run', { job_id: 'two', command: 'sleep 30' });
    const reply = await status({ job_ids: ['one', 'two', 'three'] });
    expect(Compile(StatusReply).Check(reply)).toBe(true);
    expect(reply.jobs.map((job: { state: string }) => job.state)).toEqual(['ended', 'running', 'unknown']);
    expect(reply.jobs[0]).toMatchObject({ return_code: 1, stdout_bytes: 2 });
    expect(reply.jobs[0]).not.toHaveProperty('stdout');
  });

  it('is held until one of the jobs changes, and answers then, long before wait_seconds are over', async () => {
    await agent.call('POST', '/run', { job_id: 'held', command: 'sleep 1' });
    const { cursor } = await status({ job_ids: ['held'] });
    const reply = await status({ job_ids: ['held'], cursor, wait_seconds: 20 });
    const latencyMs = Date.now() - Date.parse(reply.jobs[0].ended_at);
    expect(reply.jobs[0]).toMatchObject({ state: 'ended', return_code: 0 });
    expect(latencyMs).toBeLessThan(10_000);
    expect(reply.cursor).not.toBe(cursor);
  });

  it('does not answer for the change of another job, and gives up after wait_seconds', async () => {
    await agent.call('POST', '/run', { job_id: 'still', command: 'sleep 30' });
    const { cursor } = await status({ job_ids: ['still'] });
    const begun = Date.now();
    const held = status({ job_ids: ['still'], cursor, wait_seconds: 1 });
    await agent.call('POST', '/run', { command: 'true', wait_seconds: 10 });
    expect((await held).jobs[0].state).toBe('running');
    expect(Date.now() - begun).toBeGreaterThan(950);
  });

  it('answers at once for a cursor of before a restart, or of nobody', async () => {
    const { cursor } = await status({ job_ids: ['still'] });
    await agent.restart();
    for (const old of [cursor, 'nonsense', '', ':::']) {
      const begun = Date.now();
      await status({ job_ids: ['still'], cursor: old, wait_seconds: 20 });
      expect(Date.now() - begun).toBeLessThan(15_000);
    }
  });

  it('can be held by many while the agent goes on working', async () => {
    const { cursor } = await status({ job_ids: ['later'] });
    const held = Array.from({ length: 50 }, () => status({ job_ids: ['later'], cursor, wait_seconds: 20 }));
    await agent.call('POST', '/run', { job_id: 'later', command: 'exit 0' });
    for (const reply of await Promise.all(held)) expect(reply.jobs[0].state).not.toBe('unknown');
  });
});

describe.skipIf(process.getuid?.() !== 0)('a full disk (needs root to mount one)', () => {
  it('takes no new job, and goes on answering', async () => {
    const mount = mkdtempSync(join(tmpdir(), 'agent-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=0711', 'tmpfs', mount]);
    try {
      const full = await startRealAgent({ dataDir: mount });
      const reply = await full.call('POST', '/run', { job_id: 'no-room', command: 'true' });
      expect(reply).toMatchObject({ status: 507, body: { error: 'disk_full' } });
      expect((await full.call('GET', '/status/no-room')).body.state).toBe('unknown');
      await full.stop();
    } finally {
      execFileSync('umount', [mount]);
      rmSync(mount, { recursive: true });
    }
  });

  it('is busy beyond its number of jobs', async () => {
    const small = await startRealAgent({ args: ['--max-jobs', '1'] });
    await small.call('POST', '/run', { job_id: 'first', command: 'sleep 30' });
    expect(await small.call('POST', '/run', { command: 'true' })).toMatchObject({
      status: 429,
      body: { error: 'busy' },
    });
    await small.call('POST', '/cancel/first', { signal: 'KILL' });
    const burst = Array.from({ length: 10 }, () => small.call('POST', '/run', { command: 'sleep 30' }));
    expect((await Promise.all(burst)).filter((reply) => reply.status === 200)).toHaveLength(1);
    expect((await small.call('POST', '/run', { job_id: 'first', command: 'sleep 30' })).body.existing).toBe(
      true,
    );
    await small.stop();
  });
});
