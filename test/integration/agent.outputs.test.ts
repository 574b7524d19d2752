/** Cutting down output where that fails: for once, of one job, halfway, or because the machine cannot do it at all. */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createOutputs } from '../../src/agent/outputs.ts';
import { createRegistry } from '../../src/agent/registry.ts';
import { canMount } from '../helpers/own-disk.ts';

const MB = 1024 * 1024;
const MAX = 4 * MB;
const PATH = process.env.PATH;

let dir: string;
let told: string[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'agent-outputs-'));
  told = [];
});
afterEach(() => {
  process.env.PATH = PATH;
  rmSync(dir, { recursive: true });
});

const tell = (_fields: object, event: string) => void told.push(event);
const open = (at = dir) =>
  createOutputs({
    jobDir: (id) => join(at, id),
    maxBytes: MAX,
    log: { info: tell, warn: tell, error: tell },
  });

/** A job that has written `megabytes`, no byte of which is 0. */
function jobThatWrote(id: string, megabytes: number, at = dir) {
  mkdirSync(join(at, id));
  writeFileSync(join(at, id, 'out.log'), Buffer.alloc(megabytes * MB, 'x'));
  const record = {
    ...{ job_id: id, accepted_at: '', boot_id: '', request_hash: '', user: 'root', timeout_seconds: null },
    ...{ has_secrets: false, dedup_key: null, socket: null, attach_command: null, tombstone: false },
  };
  return createRegistry().add({ record, state: 'running', startedAt: null, outcome: null });
}
type Job = ReturnType<typeof jobThatWrote>;
const room = ({ record }: Job, at = dir) => statSync(join(at, record.job_id, 'out.log')).blocks * 512;

async function readAll(outputs: ReturnType<typeof open>, job: Job): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let next = 0; ; ) {
    const { offset, bytes } = await outputs.read(job, 'stdout', { offset: next, limit: MB });
    if (bytes.length === 0) return Buffer.concat(parts);
    parts.push(bytes);
    next = offset + bytes.length;
  }
}

/** Puts another `fallocate` before the machine's own: a script, to which `REAL` is that. */
function replaceFallocate(script: string): void {
  const bin = join(dir, 'bin');
  mkdirSync(bin);
  const real = execFileSync('/bin/sh', ['-c', 'command -v fallocate'], { encoding: 'utf8' }).trim();
  writeFileSync(join(bin, 'fallocate'), `#!/bin/sh\nREAL=${real}\n${script}\n`);
  chmodSync(join(bin, 'fallocate'), 0o755);
  process.env.PATH = `${bin}:${PATH}`;
}

it('tries again where it failed, tells it once, and goes on with all other jobs', async () => {
  replaceFallocate(
    `[ -e ${dir}/broken ] || exec $REAL "$@"; echo 'fallocate failed: No space left' >&2; exit 1`,
  );
  const outputs = open();
  const [first, second] = [jobThatWrote('first', 8), jobThatWrote('second', 8)];
  writeFileSync(join(dir, 'broken'), '');
  await outputs.look(first);
  await outputs.look(first);
  expect(room(first)).toBeGreaterThan(MAX);
  expect(told).toEqual(['job.output.not_truncated_yet']);
  rmSync(join(dir, 'broken'));
  await outputs.look(second);
  await outputs.look(first);
  expect([room(first), room(second)].every((bytes) => bytes <= MAX)).toBe(true);
  expect(told.slice(1)).toEqual(['job.output.truncated', 'job.output.truncated']);
});

it('hands out no zero of a hole that was punched halfway, and punches the rest of it later', async () => {
  // --punch-hole --offset O --length L FILE
  replaceFallocate(
    `[ -e ${dir}/half ] || exec $REAL "$@"; $REAL "$1" "$2" "$3" "$4" $(($5 / 8192 * 4096)) "$6"; exit 1`,
  );
  const outputs = open();
  const job = jobThatWrote('half-cut', 16);
  writeFileSync(join(dir, 'half'), '');
  await outputs.look(job);
  expect(readFileSync(join(dir, 'half-cut/out.log')).includes(0)).toBe(true);
  expect((await readAll(outputs, job)).includes(0)).toBe(false);
  rmSync(join(dir, 'half'));
  appendFileSync(join(dir, 'half-cut/out.log'), Buffer.alloc(MB, 'x'));
  // As after a restart of the agent, which knows of it what is on the disk.
  const later = open();
  const again = { ...job };
  await later.look(again);
  expect(room(job)).toBeLessThanOrEqual(MAX);
  expect((await readAll(later, again)).includes(0)).toBe(false);
});

it('gives up where there is no fallocate, and leaves what was written', async () => {
  const env = execFileSync('/bin/sh', ['-c', 'command -v env'], { encoding: 'utf8' }).trim();
  mkdirSync(join(dir, 'bare'));
  execFileSync('ln', ['-s', env, join(dir, 'bare/env')]);
  const outputs = open();
  const [first, second] = [jobThatWrote('first', 8), jobThatWrote('second', 8)];
  process.env.PATH = join(dir, 'bare');
  await outputs.look(first);
  await outputs.look(second);
  process.env.PATH = PATH;
  expect(told).toEqual(['job.output.cannot_be_truncated']);
  expect([first.truncated, (await readAll(outputs, first)).length]).toEqual([false, 8 * MB]);
});

it.skipIf(!canMount())('gives up on a file system that has no holes', async () => {
  const at = join(dir, 'ramfs');
  mkdirSync(at);
  execFileSync('mount', ['-t', 'ramfs', 'ramfs', at]);
  try {
    const outputs = open(at);
    const job = jobThatWrote('job', 8, at);
    await outputs.look(job);
    await outputs.look(job);
    expect(room(job, at)).toBe(8 * MB);
    expect(told).toEqual(['job.output.cannot_be_truncated']);
    expect([job.truncated, (await readAll(outputs, job)).length]).toEqual([false, 8 * MB]);
  } finally {
    execFileSync('umount', ['-l', at]);
  }
});
