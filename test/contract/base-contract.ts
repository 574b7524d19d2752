/**
 * What every agent has to do as "Base" says, whatever generation or program it is: the gateway relies on no more.
 * `protocol.base.test.ts` runs it against the three generations of the test agent and against the shipped agent,
 * so that neither can drift from the other.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AgentAddress, type BaseClient, createBaseClient } from '../helpers/base-agent.client.ts';
import { until } from '../helpers/until.ts';

export interface ContractAgent extends AgentAddress {
  /** The caller chooses the id; else the agent does, and ignores the caller's. */
  callersId: boolean;
  /** HTTP statuses that a wrong token gets; `accepted` where it is not noticed. */
  wrongToken: number | 'accepted';
  close(): Promise<void>;
}

export function baseContract(name: string, start: () => Promise<ContractAgent>): void {
  describe(`Base protocol of ${name}`, () => {
    let agent: ContractAgent;
    let client: BaseClient;
    beforeAll(async () => {
      agent = await start();
      client = createBaseClient(agent);
    });
    afterAll(async () => {
      await client?.close();
      await agent?.close();
    });

    const id = () => `c-${randomUUID()}`;

    test('ping answers ok and the time of the host', async () => {
      const pong = await client.json<{ status: string; time: string }>('POST', '/ping');
      expect(pong.status).toBe('ok');
      expect(Math.abs(Date.parse(pong.time) - Date.now())).toBeLessThan(60_000);
    });

    test('a run is answered at once with an id and a word for started', async () => {
      const jobId = id();
      const began = Date.now();
      const reply = await client.json<{ job_id: string; status: string }>('POST', '/run', {
        job_type: 'shell',
        command: 'sleep 20',
        run_as_user: null,
        sync: false,
        use_tmux: false,
        env: {},
        timeout_seconds: null,
        job_id: jobId,
      });
      expect(Date.now() - began).toBeLessThan(10_000);
      expect(['running', 'submitted']).toContain(reply.status);
      if (agent.callersId) expect(reply.job_id).toBe(jobId);
      else expect(reply.job_id).not.toBe(jobId);
      const now = await client.status(reply.job_id);
      expect(now).toMatchObject({ job_id: reply.job_id, return_code: null });
      expect(['starting', 'running']).toContain(now.status.trim());
    });

    test.each([false, true])(
      'a command that ended has its code and output, with use_tmux: %s',
      async (useTmux) => {
        const jobId = await client.run("sh -c 'sleep 0.3; echo out; echo err >&2; exit 4'", {
          job_id: id(),
          use_tmux: useTmux,
        });
        expect(await client.ended(jobId)).toMatchObject({ return_code: 4, stdout: 'out\n', stderr: 'err\n' });
        await until(async () => ['finished', 'failed'].includes((await client.status(jobId)).status.trim()));
      },
    );

    test('the code stands before the output of the command, so that a poll can hang up early', async () => {
      const jobId = await client.run('echo the-output', { job_id: id() });
      await client.ended(jobId);
      const { text } = await client.call('GET', `/status/${jobId}`);
      for (const key of ['"job_id":', '"status":', '"return_code":']) {
        expect(text.indexOf(key)).toBeGreaterThan(-1);
        expect(text.indexOf(key)).toBeLessThan(text.indexOf('"stdout":'));
      }
    });

    test('an unknown job is a 200 with the status unknown or empty', async () => {
      const reply = await client.call('GET', `/status/${id()}`);
      expect(reply.status).toBe(200);
      const job = JSON.parse(reply.text) as { status: string; return_code?: null };
      expect(['unknown', '']).toContain(job.status);
      expect(job.return_code ?? null).toBeNull();
    });

    test('a cancelled job says cancelled', async () => {
      const jobId = await client.run('sleep 30', { job_id: id(), use_tmux: true });
      const reply = await client.json<{ job_id: string; status: string }>('POST', `/cancel/${jobId}`);
      expect(reply).toMatchObject({ job_id: jobId, status: 'cancelled' });
      expect((await client.status(jobId)).status.trim()).toBe('cancelled');
    });

    test('a body without a command is a 422', async () => {
      expect((await client.call('POST', '/run', { job_id: id() })).status).toBe(422);
    });

    test('a wrong token does what this generation does with it', async () => {
      const reply = await client.call('POST', '/ping', undefined, 'wrong');
      expect(reply.status).toBe(agent.wrongToken === 'accepted' ? 200 : agent.wrongToken);
    });

    test('skip_if_running starts nothing while the session of that id is alive', async () => {
      if (!agent.callersId) return expect(await ranAgain(id())).toBe(true);
      expect(await ranAgain(id())).toBe(false);
    });

    /** Whether a second run of the same id started the command again while the first ran. */
    async function ranAgain(jobId: string): Promise<boolean> {
      const more = { job_id: jobId, use_tmux: true, skip_if_running: true };
      const first = await client.run('sleep 30', more);
      const second = await client.json<{ job_id: string; status: string }>('POST', '/run', {
        command: 'sleep 30',
        ...more,
      });
      return second.status !== 'already_running' && second.job_id !== first;
    }
  });
}
