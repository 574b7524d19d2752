/**
 * The demonstration: a gateway, an agent and three jobs, told as they happen. What it makes is noted before it is
 * used, and taken away in reverse order however it ends.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startGateway } from './gateway.ts';
import { runAsync, runInTmux, runSync } from './jobs.ts';
import { heading, say } from './telling.ts';
import { prepareUser } from './user.ts';

const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } });
const undo: (() => Promise<void> | void)[] = [];
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop.abort());

try {
  await demonstrate();
} catch (error) {
  if (!stop.signal.aborted) {
    console.error(`demo: ${(error as Error).message}`);
    process.exitCode = 1;
  }
} finally {
  heading('Tidying up');
  for (const step of undo.toReversed()) {
    await Promise.resolve(step()).catch((error: Error) => console.error(`demo: ${error.message}`));
  }
  say('everything that the demonstration made is gone');
}

async function demonstrate(): Promise<void> {
  heading('A gateway with a Redis of its own, and an agent on this machine');
  const dir = mkdtempSync(join(tmpdir(), 'sluice-demo-'));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  // The third job's user must be able to reach its files in there.
  chmodSync(dir, 0o711);
  const gateway = await startGateway(join(dir, 'data'), stop.signal);
  undo.push(() => gateway.stop());
  const user = prepareUser(dir);
  undo.push(() => user.remove());
  undo.push(() => gateway.cancelRest());

  await runSync(gateway, user.self);
  await runAsync(gateway, values.once ? 3 : 30);
  await runInTmux(gateway, user);

  heading('All three jobs ended as they should');
  if (values.once) return;
  say(`the gateway is still up: SLUICE_DATA=${join(dir, 'data')} bin/sluice list`);
  say('Ctrl-C ends it');
  await new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()));
}
