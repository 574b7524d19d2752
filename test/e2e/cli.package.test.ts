/** What `npm pack` packs runs by itself: built, with everything that it reads at run time. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startGateway } from '../helpers/gateway.ts';
import { freePort } from '../helpers/redis.ts';

const root = join(import.meta.dirname, '../..');
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-package-'));
  execFileSync('npm', ['pack', '--silent', '--pack-destination', dir], { cwd: root, stdio: 'pipe' });
  execFileSync('tar', ['xzf', join(dir, 'sluice-0.1.0.tgz'), '-C', dir]);
  // The same dependencies as in the checkout, where `npm install` would have put them; and as npm's own link.
  symlinkSync(join(root, 'node_modules'), join(dir, 'package/node_modules'));
  mkdirSync(join(dir, 'bin'));
  symlinkSync('../package/bin/sluice', join(dir, 'bin/sluice'));
}, 120_000);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it('brings up a gateway with an agent, and runs a job as another process would ask for it', async () => {
  const program = join(dir, 'bin/sluice');
  const gateway = await startGateway({ program, flags: ['--agent', `127.0.0.1:${await freePort()}`] });
  try {
    expect(gateway.output()).toMatch(/try: +(SLUICE_DATA=\S+ )?sluice submit/);
    const ran = await gateway.sluice('submit', 'local', '--wait', '--', 'echo packed; exit 4');
    expect({ code: ran.code, stdout: ran.stdout }).toEqual({ code: 4, stdout: 'packed\n' });
  } finally {
    await gateway.stop();
  }
});
