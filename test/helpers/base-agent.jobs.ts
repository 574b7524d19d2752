/**
 * How Base agents run a command: a plain-text script whose last lines write `exit` and `status`, in a process of
 * its own or in a tmux session, with one directory per job. Nothing here mends what the generations get wrong;
 * that is what the tests are about. Used by `base-agent.ts` only.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface JobToRun {
  id: string;
  command: string;
  user: string | null;
  tmux: boolean;
  env: Record<string, string>;
  /** Later generations write `running` only after the session was started. */
  runningIsWrittenLate: boolean;
}

/** A job's files as they are on the disk now; null where a file does not exist. */
export interface JobFiles {
  status: string | null;
  exit: string | null;
  stdout: Buffer;
  stderr: Buffer;
}

export type JobRunner = ReturnType<typeof createJobRunner>;

/**
 * @param at.root the agent's directory: one per job, and the tmux socket
 * @param at.env the agent's own environment, which its commands inherit
 */
export function createJobRunner(at: { root: string; env: Record<string, string> }) {
  const socket = join(at.root, 'tmux.sock');
  const children = new Set<Promise<void>>();
  const tmux = (args: string[], env = at.env) =>
    run('tmux', ['-f', '/dev/null', '-S', socket, ...args], { env });

  async function start(job: JobToRun): Promise<{ ended: Promise<void> }> {
    const dir = folder(job.id);
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { recursive: true });
    const script = join(dir, 'run.sh');
    await writeFile(script, scriptOf(job, dir));
    const env = { ...at.env, ...job.env };
    if (!job.runningIsWrittenLate) await writeFile(join(dir, 'status'), 'running');
    let ended = Promise.resolve();
    if (job.tmux) {
      await openSession(['new-session', '-d', '-c', at.root, '-s', session(job.id), `bash ${script}`], env);
    } else {
      const child = spawn('bash', [script], { cwd: at.root, env, detached: true, stdio: 'ignore' });
      ended = new Promise((resolve) => child.once('close', () => resolve()));
      children.add(ended);
    }
    if (job.runningIsWrittenLate) await writeFile(join(dir, 'status'), 'running');
    return { ended };
  }

  /** Asks again where the server was just about to end with its last session, which is the test's bad luck alone. */
  async function openSession(args: string[], env: Record<string, string>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const failed = await tmux(args, env).then(
        () => null,
        (error: Error) => error,
      );
      if (!failed) return;
      if (attempt === 5) throw failed;
    }
  }

  async function files(id: string): Promise<JobFiles | null> {
    const dir = folder(id);
    const status = await textOf(join(dir, 'status'));
    if (status === null) return null;
    const bytes = (name: string) => readFile(join(dir, name)).catch(() => Buffer.alloc(0));
    return {
      status,
      exit: await textOf(join(dir, 'exit')),
      stdout: await bytes('stdout.log'),
      stderr: await bytes('stderr.log'),
    };
  }

  /** Marks the job and, in tmux, ends its session: no generation looks at what is left. */
  async function cancel(id: string, isTmux: boolean): Promise<void> {
    if (isTmux) await tmux(['kill-session', '-t', `=${session(id)}`]).catch(() => undefined);
    await writeFile(join(folder(id), 'status'), 'cancelled').catch(() => undefined);
  }

  const sessionAlive = (id: string) =>
    tmux(['has-session', '-t', `=${session(id)}`]).then(
      () => true,
      () => false,
    );

  /** What a person attached to the job's session would see; empty once the session is gone. */
  const pane = (id: string) =>
    tmux(['capture-pane', '-p', '-t', `=${session(id)}:`]).then(
      (shown) => shown.stdout,
      () => '',
    );

  const sendKeys = (id: string, keys: string[]) => tmux(['send-keys', '-t', `=${session(id)}:`, ...keys]);

  const forget = () => rm(join(at.root, 'jobs'), { recursive: true, force: true });

  async function close(): Promise<void> {
    await tmux(['kill-server']).catch(() => undefined);
    await endEverythingMarked(`BASE_AGENT_ROOT=${at.root}`);
    await Promise.all(children);
  }

  // A job may have the empty id (generation C), which is no name for a directory.
  const folder = (id: string) => join(at.root, 'jobs', `job_${id.replaceAll('/', '_')}`);
  return { start, files, cancel, sessionAlive, pane, sendKeys, forget, close };
}

const session = (id: string) => `job_${id.replaceAll(/[.:]/g, '_')}`;

function scriptOf(job: JobToRun, dir: string): string {
  const line = job.user ? `su - ${job.user} -c ${quote(job.command)}` : job.command;
  return (
    `${line} >> ${dir}/stdout.log 2>> ${dir}/stderr.log\n` +
    `echo $? > ${dir}/exit\n` +
    `echo finished > ${dir}/status\n`
  );
}

const quote = (text: string) => `'${text.replaceAll("'", `'"'"'`)}'`;

const textOf = (path: string) => readFile(path, 'utf8').catch(() => null);

/** Ends what the commands left behind, also in sessions of their own: they all inherit the agent's environment. */
async function endEverythingMarked(marker: string): Promise<void> {
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const environment = await readFile(`/proc/${name}/environ`, 'latin1').catch(() => '');
    if (!environment.split('\0').includes(marker)) continue;
    try {
      process.kill(Number(name), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}
