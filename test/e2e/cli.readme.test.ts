/** The commands of README.md work as they stand there, against `sluice up --agent`. */
import { type StdioOptions, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cleanEnvironment, startGateway, type TestGateway } from '../helpers/gateway.ts';
import { freePort } from '../helpers/redis.ts';

const root = join(import.meta.dirname, '../..');
const commands = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^curl (?:.*\\\n)*.*$/gm)].map(
  String,
);

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway({ flags: ['--agent', `127.0.0.1:${await freePort()}`] });
});
afterAll(() => gateway?.stop());

it('has commands to try', () => {
  expect(commands.length).toBeGreaterThanOrEqual(4);
});

it.each(commands)('%s', (command) => {
  const script = `eval "$(bin/sluice env)"\n${command.replace('curl ', 'curl --fail-with-body ')}`;
  const env = cleanEnvironment({ SLUICE_DATA: gateway.dataDir });
  // No socket as standard input: bash would take itself for a remote shell, and read its start-up files.
  const stdio: StdioOptions = ['ignore', 'pipe', 'pipe'];
  const ran = spawnSync('bash', ['-euc', script], { cwd: root, env, stdio, encoding: 'utf8' });
  expect(ran).toMatchObject({ status: 0, stderr: '' });
  expect(JSON.parse(ran.stdout)).toBeTypeOf('object');
});
