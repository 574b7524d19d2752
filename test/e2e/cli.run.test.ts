/** `sluice run` and `sluice batch` in a pipe, as scripts call them: what stands where, and the exit codes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanEnvironment, runSluice, startGateway, type TestGateway } from '../helpers/gateway.ts';
import { startReplyLoser } from '../helpers/reply-loser.ts';
import { until } from '../helpers/until.ts';
import { registerDeadHosts, startWebHosts, type WebHosts } from '../helpers/web-hosts.ts';

const SLUICE = join(import.meta.dirname, '../../bin/sluice');

/** Each case starts several programs, one after the other. */
const PATIENCE_MS = 180_000;

let gateway: TestGateway;
let web: WebHosts;
beforeAll(async () => {
  gateway = await startGateway();
  web = await startWebHosts(gateway, 4);
  await registerDeadHosts(gateway, 'dead1', 'dead2');
});
afterAll(async () => {
  await web?.stop();
  await gateway?.stop();
});

const run = (...args: string[]) => gateway.sluice('run', ...args);
const batch = (...args: string[]) => gateway.sluice('batch', ...args);
/** One that is not waited for at once. */
function begin(...args: string[]) {
  const env = cleanEnvironment({ SLUICE_DATA: gateway.dataDir });
  const child = spawn(SLUICE, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return {
    stderr: () => stderr,
    interrupt: () => void child.kill('SIGINT'),
    ended: once(child, 'close').then(([code]) => code as number | null),
  };
}

const idIn = (text: string) => /\bbatch_[0-9A-Z]{26}\b/.exec(text)?.[0] ?? 'no id';

describe('run', { timeout: PATIENCE_MS }, () => {
  it('shows the output by what hosts said, tells how it went on stderr, and ends with 0', async () => {
    const { code, stdout, stderr } = await run('--hosts', 'web[1-3]', '--', 'echo "[$A]"', '; id -u >&2');
    expect(stdout).toBe(`== web[1-3] (3): succeeded\n[]\n-- stderr\n${process.getuid?.()}\n`);
    expect(stderr).toMatch(/^batch_\w+ running: .*\n/);
    expect(stderr).toMatch(/\nbatch_\w+ succeeded: 3 succeeded\n$/);
    expect(code).toBe(0);
  });

  it('puts most hosts first, names those that failed while it goes on, and ends with 2', async () => {
    const first = join(gateway.dataDir, 'first');
    const { code, stdout, stderr } = await run(
      ...['--hosts', 'web[1-4]', '--waves', '1,3', '--', `mkdir ${first} && echo first || exit 3`],
    );
    rmSync(first, { recursive: true });
    expect(stdout).toMatch(
      /^== web\[2-4\] \(3\): failed \(3\)\n-- stderr\nmkdir: [^=]*== web1 \(1\): succeeded\nfirst\n$/,
    );
    expect(stderr.match(/^job_\w+ failed \(exit 3\) on web[234]$/gm)).toHaveLength(3);
    expect(stderr).toMatch(/\nbatch_\w+ failed, wave 2: 1 succeeded, 3 failed\n$/);
    expect(code).toBe(2);
  });

  it('ends with 3 where a limit stopped it, and says which', async () => {
    const limits = ['--max-parallel', '1', '--max-failures', '0'];
    const { code, stdout, stderr } = await run('--hosts', 'web[1-4]', ...limits, '--', 'exit 7');
    expect(stdout).toContain('== web1 (1): failed (7)\n');
    expect(stderr).toMatch(/\nbatch_\w+ stopped by max_failures: 1 failed, 3 unstarted\n$/);
    expect(code).toBe(3);
  });

  it('ends with 4 where hosts did not answer and nothing failed', async () => {
    const { code, stderr } = await run('--hosts', 'web1,dead1', '--start-deadline', '2', '--', 'true');
    expect(stderr).toMatch(/\nbatch_\w+ failed: 1 succeeded, 1 expired\n$/);
    expect(code).toBe(4);
  });

  it('says once why it does not go on, where hosts do not answer', async () => {
    const running = begin('run', '--hosts', 'web1,dead[1-2]', '--', 'true');
    const why = /^batch_\w+: .*\bon hosts that are down\b.*$/gm;
    await until(() => running.stderr().match(why), { timeoutMs: 60_000 });
    await batch('cancel', idIn(running.stderr()));
    expect(await running.ended).toBe(5);
    expect(running.stderr().match(why)).toHaveLength(1);
  });

  it('ends with 5 where somebody canceled it, and shows what was said until then', async () => {
    const running = run('--hosts', 'web[1-2]', '--set-label', 'why=canceled', '--', 'echo begun; sleep 60');
    const id = await until(async () => {
      const [found] = JSON.parse((await batch('list', '--label', 'why=canceled', '--json')).stdout);
      return found?.counts.running === 2 && (found.id as string);
    });
    expect((await batch('cancel', id, '--reason', 'wrong hosts')).stdout).toContain(`${id} cancel`);
    const { code, stdout, stderr } = await running;
    expect(stdout).toMatch(/^== web\[1-2\] \(2\): canceled.*\nbegun\n/);
    expect(stderr).toMatch(/\nbatch_\w+ canceled: 2 canceled\n$/);
    expect(code).toBe(5);
  });

  it('--quiet leaves the output alone, and a word only of an end that is not success', async () => {
    const quiet = (command: string) => run('--quiet', '--hosts', 'web1', '--', command);
    expect(await quiet('echo out')).toEqual({ code: 0, stdout: '== web1 (1): succeeded\nout\n', stderr: '' });
    expect((await quiet('exit 3')).stderr).toMatch(/^batch_\w+ failed: 1 failed\n$/);
  });

  it('Ctrl-C where nobody can be asked leaves the batch running, and says how to come back', async () => {
    const running = begin('run', '--hosts', 'web1', '--', 'sleep 8');
    await until(() => running.stderr().includes(' running'), { timeoutMs: 40_000 });
    running.interrupt();
    expect(await running.ended).toBe(130);
    expect(running.stderr()).toMatch(/\nbatch_\w+ goes on; `\S+ batch wait batch_\w+` waits for it/);
    expect((await batch('wait', '--quiet', idIn(running.stderr()))).code).toBe(0);
  });
});

describe('which hosts', { timeout: PATIENCE_MS }, () => {
  it('--dry-run lists them one a line, folded beside it, and starts nothing', async () => {
    const listed = await run('--dry-run', '--hosts', 'web[1-4]', '--exclude', 'web3', '--', 'true');
    expect(listed).toEqual({ code: 0, stdout: 'web1\nweb2\nweb4\n', stderr: '3 hosts: web[1-2,4]\n' });
  });

  it('are chosen by labels, several of which must all be there, or all of them are', async () => {
    const targets = async (...args: string[]) =>
      (await run('--dry-run', ...args, '--', 'true')).stdout.trim().split('\n').sort().join(' ');
    expect(await targets('--label', 'tier=web', '--label', 'side=b')).toBe('web2 web4');
    expect(await targets('--label', 'side=b', '--hosts', 'web1')).toBe('web1 web2 web4');
    expect(await targets('--all', '--exclude', 'dead[1-2]')).toBe('web1 web2 web3 web4');
  });

  it('must be said', async () => {
    expect((await run('--', 'true')).stderr).toMatch(/^sluice: say on which hosts: --hosts /);
    expect((await run('--all', '--label', 'a=b', '--', 'true')).stderr).toMatch(/cannot stand together\n$/);
  });

  it('are refused by name where there is a mistake, and nothing is started', async () => {
    const backwards = await run('--hosts', 'web[4-1]', '--', 'true');
    expect(backwards).toMatchObject({ code: 1, stdout: '' });
    expect(backwards.stderr).toMatch(/^sluice: invalid_request: .*web\[4-1\]: 4-1 runs backwards/);
    const unknown = await run('--hosts', 'web1,nowhere,elsewhere', '--', 'true');
    expect(unknown).toMatchObject({ code: 1, stdout: '' });
    expect(unknown.stderr).toMatch(/^sluice: target_unknown: elsewhere,nowhere are not registered/);
  });

  it('--waves and limits take numbers and shares only', async () => {
    expect((await run('--all', '--waves', '1,half', '--', 'true')).stderr).toContain('a percentage like 10%');
    expect((await run('--all', '--max-failures', '-1', '--', 'true')).code).toBe(1);
  });
});

describe('batch', { timeout: PATIENCE_MS }, () => {
  it('list, get, jobs and output find what run has left', async () => {
    const label = 'nightly=sweep';
    const { stdout } = await run('--detach', '--set-label', label, '--hosts', 'web[1-2]', '--', 'echo swept');
    const id = stdout.trim();
    expect(id).toBe(idIn(stdout));
    expect((await batch('wait', id)).stdout).toBe('== web[1-2] (2): succeeded\nswept\n');
    expect((await batch('list', '--label', label)).stdout).toMatch(
      new RegExp(`^ID .*\n${id}  succeeded  2/2 +2 +\\S+  echo swept\n$`),
    );
    expect(JSON.parse((await batch('get', id)).stdout)).toMatchObject({ id, labels: { nightly: 'sweep' } });
    expect(
      (await batch('jobs', id, '--state', 'succeeded')).stdout.match(/ succeeded +0 +web[12]$/gm),
    ).toHaveLength(2);
    expect((await batch('output', id)).stdout).toBe('== web[1-2] (2): succeeded\nswept\n');
    expect(JSON.parse((await batch('output', id, '--json')).stdout)).toMatchObject([{ hosts: 'web[1-2]' }]);
  });

  it('pause keeps what has not begun, resume goes on with it', async () => {
    const gate = join(gateway.dataDir, 'gate');
    const command = `until [ -e ${gate} ]; do sleep 0.1; done`;
    const { stdout } = await run('--detach', '--hosts', 'web[1-3]', '--max-parallel', '1', '--', command);
    const id = stdout.trim();
    await until(async () => JSON.parse((await batch('get', id)).stdout).counts.running === 1);
    expect((await batch('pause', id)).stdout).toContain(`${id} paused: `);
    const waiting = begin('batch', 'wait', id);
    await until(() => waiting.stderr().includes(`${id} is paused; `), { timeoutMs: 40_000 });
    writeFileSync(gate, '');
    const now = async () => JSON.parse((await batch('get', id)).stdout);
    await until(async () => (await now()).counts.succeeded === 1, { timeoutMs: 40_000 });
    expect(await now()).toMatchObject({ state: 'paused', counts: { unstarted: 2 } });
    expect((await batch('resume', id)).stdout).toContain(`${id} running: `);
    expect(await waiting.ended).toBe(0);
  });

  it('retry runs it again where it failed or never began, and nowhere else', async () => {
    const mark = join(gateway.dataDir, 'once');
    const command = `mkdir ${mark}-$$ && [ $(ls -d ${mark}-* | wc -l) != 2 ]`;
    const limits = ['--max-parallel', '1', '--max-failures', '0'];
    const first = await run('--hosts', 'web[1-4]', ...limits, '--', command);
    expect(first.stderr).toMatch(/stopped by max_failures: 1 succeeded, 1 failed, 2 unstarted\n$/);
    const again = await batch('retry', idIn(first.stderr), '--scope', 'failed,unstarted');
    expect(again.stdout).toBe('== web[2-4] (3): succeeded\n');
    expect(again.code).toBe(0);
  });
});

describe('a request that is not answered', { timeout: PATIENCE_MS }, () => {
  it('is sent again with the same key, and finds the batch that the first one made', async () => {
    const proxy = await startReplyLoser(gateway.url, 'POST', 2);
    try {
      const env = cleanEnvironment({ SLUICE_URL: proxy.url, SLUICE_API_KEY: gateway.apiKey });
      const args = ['run', '--detach', '--set-label', 'made=once', '--hosts', 'web1', '--', 'true'];
      const { code, stdout } = await runSluice(args, env);
      expect(code).toBe(0);
      const posts = proxy.seen.filter(({ method }) => method === 'POST');
      expect(posts).toHaveLength(3);
      expect(new Set(posts.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
      const made = JSON.parse((await batch('list', '--label', 'made=once', '--json')).stdout);
      expect(made.map(({ id }: { id: string }) => id)).toEqual([stdout.trim()]);
    } finally {
      proxy.stop();
    }
  });

  it('is given up at once where there is no gateway', async () => {
    const env = cleanEnvironment({ SLUICE_URL: 'http://127.0.0.1:9', SLUICE_API_KEY: 'k' });
    const { code, stderr } = await runSluice(['run', '--all', '--', 'true'], env);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^sluice: no gateway answers/),
    });
  });
});
