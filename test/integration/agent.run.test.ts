import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';

let agent: RealAgent;
beforeAll(async () => {
  agent = await startRealAgent();
});
afterAll(() => agent.stop());

const run = async (request: Record<string, unknown>) =>
  (await agent.call('POST', '/run', { wait_seconds: 20, ...request })).body;

describe('POST /run', () => {
  it('answers a short command with its code and output in one round trip', async () => {
    const job = await run({ job_id: 'short', command: 'echo out; echo err >&2; exit 3' });
    expect(job).toMatchObject({
      job_id: 'short',
      status: 'finished',
      state: 'ended',
      reason: 'exit',
      return_code: 3,
      stdout: 'out\n',
      stderr: 'err\n',
      stdout_bytes: 4,
      proof: 'group+marker',
      leftover_processes: 0,
    });
  });

  it('says running at once without wait_seconds', async () => {
    const started = await agent.call('POST', '/run', { job_id: 'async', command: 'sleep 0.3' });
    expect(started.body).toMatchObject({ job_id: 'async', status: 'running', state: 'running' });
  });

  it('holds a Base caller with sync until the end and makes an id for it', async () => {
    const reply = await agent.call('POST', '/run', {
      job_type: 'shell',
      command: 'sleep 0.2; echo done',
      sync: true,
    });
    expect(reply.body).toMatchObject({ status: 'finished', return_code: 0, stdout: 'done\n', stderr: '' });
    expect(reply.body.job_id).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  });

  it('names the signal that ended a command, and only then', async () => {
    expect(await run({ command: 'kill -KILL $$' })).toMatchObject({
      return_code: 137,
      reason: 'signal',
      signal: 'KILL',
    });
    expect(await run({ command: 'kill -TERM $$' })).toMatchObject({
      return_code: 143,
      reason: 'signal',
      signal: 'TERM',
    });
    expect(await run({ command: 'exit 137' })).toMatchObject({
      return_code: 137,
      reason: 'exit',
      signal: null,
    });
    expect(await run({ command: 'exit 124' })).toMatchObject({
      return_code: 124,
      reason: 'exit',
      signal: null,
    });
  });

  it('ends with 2 on a syntax error', async () => {
    expect(await run({ command: 'if then' })).toMatchObject({ return_code: 2, reason: 'exit' });
  });
});
