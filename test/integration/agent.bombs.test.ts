/** Commands that multiply, and users who put other things where the agent expects files (needs root, for users). */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { createTemporaryUser, type TemporaryUser } from '../helpers/temporary-user.ts';
import { until } from '../helpers/until.ts';

/** What this machine has to bear at most. */
const MOST_PROCESSES = 60;

describe.skipIf(process.getuid?.() !== 0)('a user of the host (needs root, to make one)', () => {
  let agent: RealAgent;
  let user: TemporaryUser;
  let scratch: string;
  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'agent-bombs-'));
    user = await createTemporaryUser();
    agent = await startRealAgent({ args: ['--max-output', '1M'] });
  });
  afterAll(async () => {
    for (const pid of processesOf(user.uid)) process.kill(pid, 'SIGKILL');
    await agent.stop();
    await until(() => processesOf(user.uid).length === 0);
    await user.remove();
    rmSync(scratch, { recursive: true });
  });

  const start = (job_id: string, command: string, more = {}) =>
    agent.call('POST', '/run', { job_id, command, run_as_user: user.name, ...more });
  const over = (id: string) =>
    until(async () => {
      const { body } = await agent.call('GET', `/status/${id}`);
      return ['ended', 'lost'].includes(body.state) && body;
    });

  it.each([
    { way: 'cancel', more: {} },
    { way: 'timeout', more: { timeout_seconds: 4 } },
  ])(
    'who sets off a fork bomb stops at the limit of processes; $way ends all of it, others go on',
    async ({ way, more }) => {
      const bomb = 'trap "" TERM HUP; b() { sleep 97 & b & b & wait; sleep 97; }; b';
      // Stays within its bounds whatever the agent does.
      await start(way, `ulimit -u ${MOST_PROCESSES} || exit 1; ${bomb}`, { timeout_seconds: 60, ...more });
      await until(() => processesOf(user.uid).length >= MOST_PROCESSES - 20, { what: 'the bomb to go off' });
      const other = { command: 'exit 3', wait_seconds: 20 };
      expect((await agent.call('POST', '/run', other)).body).toMatchObject({ return_code: 3 });
      if (way === 'cancel') await agent.call('POST', `/cancel/${way}`, { grace_seconds: 1 });
      const reason = way === 'cancel' ? 'canceled' : 'timeout';
      expect(await over(way)).toMatchObject({ reason, proof: 'group+marker', remaining_pids: [] });
      expect(processesOf(user.uid)).toEqual([]);
    },
  );

  const TRICKS = [
    { thing: 'symbolic links', put: (name: string) => `ln -sf ${'$SECRET'} ${name}` },
    { thing: 'FIFOs', put: (name: string) => `rm -f ${name}; mkfifo ${name}` },
    { thing: 'directories', put: (name: string) => `rm -f ${name}; mkdir ${name}` },
  ];
  const MODES = [
    { mode: 'plain', use_tmux: false },
    { mode: 'tmux', use_tmux: true },
  ];
  it.each(TRICKS.flatMap((trick) => MODES.map((mode) => ({ ...trick, ...mode }))))(
    'who puts $thing in the place of all his files ($mode) has nothing read, cut or waited for',
    async ({ thing, put, mode, use_tmux }) => {
      const secret = join(scratch, `secret-${mode}`);
      const text = 'of root\n'.repeat(500_000);
      writeFileSync(secret, text, { mode: 0o600 });
      const id = `tricks-${thing.split(' ').at(-1)}-${mode}`;
      const names = ['rc', 'note', 'fail', 'over', 'begun', 'out.done', 'err.done', 'out.log', 'err.log'];
      const tricks = names.map((name) => put(name)).join('; ');
      const command = `SECRET=${secret}; cd ${join(agent.jobDir(id), 'u')}; ${tricks}; sleep 1.5; exit 9`;
      await start(id, command, { use_tmux });
      const job = await over(id);
      // In tmux nobody but these files could have told the code.
      if (use_tmux) expect(job).toMatchObject({ state: 'lost', reason: 'exit_unknown' });
      else expect(job).toMatchObject({ reason: 'exit', return_code: 9 });
      expect(JSON.stringify(job)).not.toContain('of root');
      const { body } = await agent.call('GET', `/logs/${id}?offset=0`);
      expect(body.data).not.toContain('of root');
      expect(readFileSync(secret, 'utf8') === text && statSync(secret).blocks * 512 >= text.length).toBe(
        true,
      );
    },
  );

  it('who names a FIFO as directory or shell is refused at once', async () => {
    const fifo = join(user.home, 'fifo');
    await start('makes', `mkfifo -m 777 ${fifo}`, { wait_seconds: 10 });
    expect((await start('into', 'true', { workdir: fifo })).body.error).toBe('workdir');
    expect((await start('with', 'true', { shell: fifo })).body.error).toBe('mode_unsupported');
  });
});

function processesOf(uid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8');
        return new RegExp(`^Uid:\\t${uid}\\t`, 'm').test(status) && !/^State:\tZ/m.test(status);
      } catch {
        return false;
      }
    })
    .map(Number);
}
