/** One launch token, at most one start. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';

let agent: RealAgent;
let scratch: string;
beforeAll(async () => {
  agent = await startRealAgent();
  scratch = mkdtempSync(join(tmpdir(), 'agent-once-'));
});
afterAll(async () => {
  await agent.stop();
  rmSync(scratch, { recursive: true });
});

const counted = (name: string) => `echo x >> ${join(scratch, name)}`;
const starts = (name: string) => readFileSync(join(scratch, name), 'utf8').length / 2;

describe('one token', () => {
  it('starts once, however often it is asked for, and answers the end with existing', async () => {
    const request = { job_id: 'repeat', command: `${counted('repeat')}; exit 5`, wait_seconds: 10 };
    const first = await agent.call('POST', '/run', request);
    expect(first.body.existing).toBeUndefined();
    for (let time = 0; time < 3; time++) {
      const again = await agent.call('POST', '/run', request);
      expect(again.body).toMatchObject({ existing: true, return_code: 5, state: 'ended' });
    }
    expect(starts('repeat')).toBe(1);
  });

  it('starts once for twenty requests at the same time', async () => {
    const request = { job_id: 'rush', command: counted('rush'), wait_seconds: 10 };
    const replies = await Promise.all(Array.from({ length: 20 }, () => agent.call('POST', '/run', request)));
    expect(replies.every(({ status, body }) => status === 200 && body.return_code === 0)).toBe(true);
    expect(replies.filter(({ body }) => body.existing !== true)).toHaveLength(1);
    expect(starts('rush')).toBe(1);
  });

  it('is refused for a different command, user or environment', async () => {
    await agent.call('POST', '/run', { job_id: 'taken', command: 'sleep 1', env: { A: '1', B: '2' } });
    for (const other of [{ command: 'sleep 2' }, { env: { A: '2' } }, { workdir: '/' }]) {
      const reply = await agent.call('POST', '/run', {
        job_id: 'taken',
        command: 'sleep 1',
        env: { A: '1', B: '2' },
        ...other,
      });
      expect(reply).toMatchObject({ status: 409, body: { error: 'job_id_conflict' } });
    }
    const same = await agent.call('POST', '/run', {
      job_id: 'taken',
      command: 'sleep 1',
      env: { B: '2', A: '1' },
    });
    expect(same.body.existing).toBe(true);
  });

  it('is not started in another spool than the one that the caller knows', async () => {
    const { body: ping } = await agent.call('POST', '/ping');
    const request = { job_id: 'store', command: 'true', wait_seconds: 10 };
    const refused = await agent.call('POST', '/run', { ...request, expect_store_id: 'another' });
    expect(refused).toMatchObject({ status: 409, body: { error: 'store_changed' } });
    expect((await agent.call('GET', '/status/store')).body.state).toBe('unknown');
    const started = await agent.call('POST', '/run', { ...request, expect_store_id: ping.store_id });
    expect(started.body).toMatchObject({ return_code: 0 });
  });

  it('that was cancelled before its start never starts, also after a restart', async () => {
    const cancel = await agent.call('POST', '/cancel/tomb');
    expect(cancel.body).toMatchObject({
      job_id: 'tomb',
      status: 'cancelled',
      state: 'ended',
      reason: 'canceled',
    });
    const refused = { status: 409, body: { error: 'canceled_before_start' } };
    expect(await agent.call('POST', '/run', { job_id: 'tomb', command: counted('tomb') })).toMatchObject(
      refused,
    );
    await agent.restart();
    expect(await agent.call('POST', '/run', { job_id: 'tomb', command: counted('tomb') })).toMatchObject(
      refused,
    );
    expect(() => starts('tomb')).toThrow();
  });
});

describe('Base words', () => {
  it('skip_if_running and dedup_key start nothing while the job runs', async () => {
    await agent.call('POST', '/run', { job_id: 'key-1', command: 'sleep 20', dedup_key: 'nightly' });
    const same = await agent.call('POST', '/run', {
      job_id: 'key-1',
      command: 'sleep 20',
      skip_if_running: true,
      dedup_key: 'nightly',
    });
    expect(same.body).toMatchObject({ status: 'already_running', job_id: 'key-1', existing: true });
    const other = await agent.call('POST', '/run', {
      job_id: 'key-2',
      command: 'true',
      dedup_key: 'nightly',
    });
    expect(other.body).toEqual({ status: 'already_running', job_id: 'key-2', active_job_id: 'key-1' });
    await agent.call('POST', '/cancel/key-1', { signal: 'KILL' });
    const after = await agent.call('POST', '/run', {
      job_id: 'key-2',
      command: 'true',
      dedup_key: 'nightly',
      wait_seconds: 10,
    });
    expect(after.body).toMatchObject({ job_id: 'key-2', return_code: 0 });
  });

  it('an unknown job is unknown with 200, and fire_and_forget is accepted', async () => {
    expect(await agent.call('GET', '/status/nobody-knows')).toMatchObject({
      status: 200,
      body: { job_id: 'nobody-knows', status: 'unknown', return_code: null },
    });
    const reply = await agent.call('POST', '/run', {
      command: 'true',
      fire_and_forget: true,
      run_as_user: null,
    });
    expect(reply.body).toMatchObject({ status: expect.stringMatching(/^(running|finished)$/) });
  });
});
