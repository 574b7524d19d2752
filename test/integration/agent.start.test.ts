/** An agent that cannot start: it ends and says why, so that whoever watches over it can start it again. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';

const AGENT = fileURLToPath(new URL('../../src/agent/command-line.ts', import.meta.url));

let running: RealAgent;
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-agent-start-'));
  running = await startRealAgent();
});
afterAll(async () => {
  await running?.stop();
  await rm(dir, { recursive: true, force: true });
});

async function endOfStart(listen: string): Promise<{ code: number; said: string }> {
  const args = [AGENT, '--listen', listen, '--data', join(dir, 'data'), '--token-file', join(dir, 'token')];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000 });
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await once(child, 'close')) as [number];
  return { code, said: (await said).join('') };
}

it('ends with 1 where its address is taken, and leaves its data to the next one', async () => {
  const ended = await endOfStart(running.address);
  expect(ended.code).toBe(1);
  expect(ended.said).toContain('EADDRINUSE');
  expect(await endOfStart(running.address)).toMatchObject({
    code: 1,
    said: expect.stringContaining('EADDRINUSE'),
  });
});

it('ends with 1 where its address is none', async () => {
  const ended = await endOfStart('foo');
  expect(ended.code).toBe(1);
  expect(ended.said).toContain('foo is not HOST:PORT');
});
