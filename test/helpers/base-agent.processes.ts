/** Finds and ends the processes of one launch token on this machine, launcher and command alike. */
import { readdir, readFile } from 'node:fs/promises';

export interface TokenProcess {
  pid: number;
  /** The launcher's verb (`start`, `job`, `gate`, `timer`, `cancel`), `tool` for what these run, else `command`. */
  part: string;
}

/** Live processes, no zombies, that carry the token among their arguments or as their mark. */
export async function processesOf(token: string): Promise<TokenProcess[]> {
  const found: TokenProcess[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const [args, environment] = await Promise.all([list(name, 'cmdline'), list(name, 'environ')]);
    const verb = args[2]?.startsWith('exec 2>') ? args[4] : undefined;
    const ofLauncher = verb !== undefined && args[7] === token;
    if (ofLauncher) found.push({ pid: Number(name), part: verb });
    else if (environment.includes(`SLUICE_JOB_ID=${token}`))
      found.push({ pid: Number(name), part: 'command' });
    else if (args.some((arg) => arg.includes(`/${token}/`))) found.push({ pid: Number(name), part: 'tool' });
  }
  return found;
}

/** SIGKILL to those of them that `which` names, all by default. */
export async function killProcessesOf(token: string, which?: string[]): Promise<void> {
  for (const { pid, part } of await processesOf(token)) {
    if (which && !which.includes(part)) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}

async function list(pid: string, file: string): Promise<string[]> {
  return (await readFile(`/proc/${pid}/${file}`, 'latin1').catch(() => '')).split('\0');
}
