/** The three jobs: one waited for, one followed, one in tmux that somebody looks in on. */
import { spawn, spawnSync } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import type { DemoGateway, Job } from './gateway.ts';
import { heading, say, showOutput } from './telling.ts';
import type { DemoUser } from './user.ts';

export async function runSync(gateway: DemoGateway, job_user: string | null): Promise<void> {
  heading('1. A short command whose output comes back with the reply (mode sync)');
  const order = { target_server: 'local', command: 'ls -l /root', mode: 'sync', job_user };
  const body = job_user === null ? { ...order, command: 'ls -l "$HOME"' } : order;
  const job = await gateway.call('POST', '/v1/jobs', body, { prefer: 'wait=30' });
  expectSuccess(job);
  showOutput(job.stdout ?? '');
}

export async function runAsync(gateway: DemoGateway, seconds: number): Promise<void> {
  heading('2. A long command, followed by asking its host now and then (mode async)');
  const command = `sleep ${seconds} && echo 'done async'`;
  const body = { target_server: 'local', command, mode: 'async', poll_interval: 15 };
  const job = await gateway.follow(await gateway.call('POST', '/v1/jobs', body));
  expectSuccess(job);
  showOutput(job.stdout_tail ?? '');
}

export async function runInTmux(gateway: DemoGateway, user: DemoUser): Promise<void> {
  heading(`3. A script in tmux, ${user.name ? `as the user ${user.name}` : 'as oneself'} (mode tmux)`);
  const body = { target_server: 'local', command: user.script, mode: 'tmux', job_user: user.name };
  const job = await gateway.follow(await gateway.call('POST', '/v1/jobs', body), lookIn);
  expectSuccess(job);
  showOutput(job.stdout_tail ?? '');
}

/** Attaches for a moment, the way a person would, and leaves the job alone. */
async function lookIn({ attach_command: attach }: Job): Promise<void> {
  if (!attach) throw new Error('the running tmux job says no attach_command');
  say(`$ ${attach}`);
  const list = attach.replace(/ attach .*$/, ' list-sessions');
  const env = { ...process.env, TERM: 'xterm' };
  const person = spawn('script', ['-qfec', attach, '/dev/null'], {
    env,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  person.on('error', () => say('(no `script` here to attach with)'));
  await pause(1_000);
  say(`$ ${list}`);
  const { stdout, stderr, status } = spawnSync('sh', ['-c', list], { encoding: 'utf8' });
  showOutput(stdout || stderr);
  person.kill();
  if (status !== 0) throw new Error('the tmux session of the running job is not to be found');
}

function expectSuccess(job: Job): void {
  if (job.state === 'succeeded') say(`${job.id} succeeded with ${job.return_code}`);
  else throw new Error(`${job.id} is ${job.state}: ${job.outcome?.message ?? `code ${job.return_code}`}`);
}
