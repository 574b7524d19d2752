/** Agent and supervisors are killed at random for a while: nothing may run twice, and no code may be wrong. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

const LANES = 4;
const JOBS_PER_LANE = 6;

/** A gateway's way to start a job: the same request again until its end is told. */
async function runStubbornly(agent: RealAgent, id: string, command: string): Promise<void> {
  await until(
    async () => {
      const { body } = await agent.call('POST', '/run', { job_id: id, command, wait_seconds: 5 });
      return ['ended', 'lost'].includes(body.state);
    },
    { timeoutMs: 30_000 },
  );
}

function killASupervisor(agent: RealAgent): boolean {
  for (const id of readdirSync(join(agent.dataDir, 'jobs')).reverse()) {
    try {
      const [pid, start] = readFileSync(join(agent.jobDir(id), 'supervisor'), 'utf8').split(' ');
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      if (stat.split(' ')[21] !== start) continue;
      process.kill(Number(pid), 'SIGKILL');
      return true;
    } catch {
      // Not there yet, or over already.
    }
  }
  return false;
}

it('every job ran at most once, and each end that is told is the true one', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'agent-chaos-'));
  const agent = await startRealAgent();
  const ids = Array.from({ length: LANES * JOBS_PER_LANE }, (_, index) => `chaos-${index}`);
  const commandOf = (index: number) => `echo x >> ${scratch}/${index}; sleep 0.${index % 5}; exit ${index}`;
  let finished = false;
  let supervisorKills = 0;
  const killing = (async () => {
    while (!finished) {
      // Not a wait for something: how long the agent is let live is the fault that this test makes.
      await pause(200 + Math.random() * 500);
      if (killASupervisor(agent)) supervisorKills++;
      await agent.restart();
    }
  })();
  const lane = async (first: number) => {
    for (let index = first; index < ids.length; index += LANES) {
      await runStubbornly(agent, ids[index]!, commandOf(index));
    }
  };
  await Promise.all(Array.from({ length: LANES }, (_, first) => lane(first)));
  finished = true;
  await killing;
  expect(supervisorKills).toBeGreaterThan(0);

  const reply = await until(
    async () => {
      const { body } = await agent.call('POST', '/status', { job_ids: ids });
      return body.jobs.every((job: { state: string }) => ['ended', 'lost'].includes(job.state)) && body;
    },
    { timeoutMs: 20_000 },
  );
  for (const [index, job] of reply.jobs.entries()) {
    let starts = 0;
    try {
      starts = readFileSync(join(scratch, String(index)), 'utf8').length / 2;
    } catch {
      // It never began.
    }
    if (job.reason === 'never_ran') expect([index, starts]).toEqual([index, 0]);
    else expect([index, job.reason, job.return_code, starts]).toEqual([index, 'exit', index, 1]);
  }
  await agent.stop();
  rmSync(scratch, { recursive: true });
});
