/** Output that is more than the agent keeps, that its own command cuts, or that is no text: what readers get of it. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startAgent } from '../../src/agent/main.ts';
import { launchToken } from '../../src/job/record.ts';
import { createAgentPort } from '../../src/net/agents.ts';
import { dialHost, someJob } from '../helpers/agent-port.ts';
import { canMount, createOwnDisk } from '../helpers/own-disk.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

const MB = 1024 * 1024;
const KEPT = 4 * MB;

let agent: RealAgent;
let scratch: string;
beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'agent-output-'));
  agent = await startRealAgent({ args: ['--max-output', '4M'] });
});
afterAll(async () => {
  await agent.stop();
  rmSync(scratch, { recursive: true });
});

const start = (job_id: string, command: string, more = {}) =>
  agent.call('POST', '/run', { job_id, command, ...more });
const look = async (id: string) => (await agent.call('GET', `/status/${id}`)).body;
const over = (id: string) =>
  until(
    async () => {
      const job = await look(id);
      return job.state === 'ended' && job;
    },
    { timeoutMs: 60_000, what: `the end of ${id}` },
  );
const bytesOnDisk = (path: string) => statSync(path).blocks * 512;
const bytesOf = (body: { data: string; encoding?: string }) =>
  Buffer.from(body.data, body.encoding === 'base64' ? 'base64' : 'utf8');

interface Part {
  offset: number;
  bytes: Buffer;
}

/** Reads a stream as a follower does, and checks that no offset goes back. */
async function readAll(id: string, limit = MB): Promise<Part[]> {
  const parts: Part[] = [];
  for (let offset = 0; ; ) {
    const { body } = await agent.call('GET', `/logs/${id}?offset=${offset}&limit=${limit}`);
    const bytes = bytesOf(body);
    const from = body.offset ?? offset;
    expect(from).toBeGreaterThanOrEqual(offset);
    expect(body.next).toBe(from + bytes.length);
    parts.push({ offset: from, bytes });
    if (body.eof) return parts;
    offset = body.next;
  }
}

/** Line n of `seq -f %015.0f` is 16 bytes, so each byte says by itself where it belongs. */
const LINES = 2_000_000;
const numbered = (lines: number) => `seq -f %015.0f 0 ${lines - 1}`;
function expectInPlace({ offset, bytes }: Part): void {
  const first = Math.ceil(offset / 16);
  const skipped = first * 16 - offset;
  const count = Math.floor((bytes.length - skipped) / 16);
  const expected = Array.from({ length: count }, (_, n) => `${String(first + n).padStart(15, '0')}\n`).join(
    '',
  );
  expect(bytes.toString('latin1', skipped, skipped + count * 16) === expected).toBe(true);
}

describe('output that is more than is kept', () => {
  it.each([
    { mode: 'plain', use_tmux: false },
    { mode: 'tmux', use_tmux: true },
  ])(
    'keeps beginning and end at their offsets, says so, and stops nothing ($mode)',
    async ({ mode, use_tmux }) => {
      const id = `flood-${mode}`;
      await start(id, `${numbered(LINES)}; exit 3`, { use_tmux });
      const job = await over(id);
      expect(job).toMatchObject({
        reason: 'exit',
        return_code: 3,
        truncated: true,
        stdout_bytes: 16 * LINES,
        stdout_sha256: null,
      });
      expect(job.message).toMatch(/not all of its output was kept/);
      const file = join(agent.jobDir(id), use_tmux ? 'u/out.log' : 'out.log');
      expect(bytesOnDisk(file)).toBeLessThanOrEqual(KEPT);
      const parts = await readAll(id);
      parts.forEach(expectInPlace);
      const length = parts.reduce((sum, part) => sum + part.bytes.length, 0);
      expect(length).toBeGreaterThan(KEPT / 2);
      expect(length).toBeLessThanOrEqual(KEPT);
      expect(parts[0]!.offset).toBe(0);
      expect(job.stdout.endsWith(`${String(LINES - 1).padStart(15, '0')}\n`)).toBe(true);
    },
  );

  it('stays within its bounds while the job runs, and after a restart of the agent', async () => {
    const gate = join(scratch, 'go-on');
    const command = `${numbered(LINES)}; until [ -e ${gate} ]; do sleep 0.05; done; echo end`;
    await start('runs-on', command);
    const file = join(agent.jobDir('runs-on'), 'out.log');
    await until(() => statSync(file).size === 16 * LINES && bytesOnDisk(file) <= KEPT);
    expect(await look('runs-on')).toMatchObject({ state: 'running', truncated: true });
    await agent.restart();
    expect(await look('runs-on')).toMatchObject({ truncated: true, stdout_bytes: 16 * LINES });
    writeFileSync(gate, '');
    await over('runs-on');
    const parts = await readAll('runs-on', 300_000);
    parts.slice(0, -1).forEach(expectInPlace);
    expect(parts.at(-1)!.bytes.toString().endsWith('\nend\n')).toBe(true);
    await agent.restart();
    expect(await look('runs-on')).toMatchObject({ state: 'ended', truncated: true });
  });

  it('reaches the gateway as a range that begins later than it was asked for', async () => {
    const job = someJob();
    const token = launchToken(job);
    await start(token, numbered(LINES));
    await over(token);
    const port = createAgentPort();
    const range = { stream: 'stdout' as const, offset: 8 * MB, limit: 1600, attempt: 1 };
    const { data, next } = await port.read(dialHost(agent), { ...job, agent_job_id: token }, range);
    const { body } = await agent.call('GET', `/logs/${token}?offset=${8 * MB}&limit=1600`);
    expect(data.length).toBe(1600);
    expect(next).toBe(body.offset + 1600);
    expectInPlace({ offset: next - data.length, bytes: data });
    await port.close();
  });

  it('is whole where it is not more than that, and without a limit', async () => {
    await start('small', numbered(10_000));
    const small = await over('small');
    expect(small.truncated).toBeUndefined();
    expect(small.stdout_sha256).toMatch(/^[0-9a-f]{64}$/);
    const free = await startRealAgent({ args: ['--max-output', '0'] });
    const request = { job_id: 'all', command: numbered(500_000), wait_seconds: 30 };
    expect((await free.call('POST', '/run', request)).body).toMatchObject({ stdout_bytes: 8_000_000 });
    expect((await free.call('GET', '/status/all')).body.truncated).toBeUndefined();
    await free.stop();
  });

  it('is refused as a limit that would be of no use', async () => {
    const options = { listen: '127.0.0.1:0', dataDir: scratch, tokenFile: join(scratch, 'token') };
    const log = { info() {}, warn() {}, error() {} };
    for (const maxOutput of ['1K', '-1', '4GB', '']) {
      await expect(startAgent({ ...options, maxOutput, log })).rejects.toThrow(/--max-output/);
    }
  });
});

describe('a gigabyte and more of output', () => {
  it('costs the agent no memory and little disk, and its end can be read', async () => {
    const memory = () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))![1]) / 1024;
    const before = memory();
    let most = 0;
    await start('gigabyte', 'head -c 1500000000 /dev/zero; echo; echo the end');
    const file = join(agent.jobDir('gigabyte'), 'out.log');
    const job = await until(
      async () => {
        most = Math.max(most, memory());
        const now = await look('gigabyte');
        // What is too much goes a moment after it was written, and may go after the end.
        return now.state === 'ended' && now.truncated && now;
      },
      { timeoutMs: 120_000 },
    );
    expect(job).toMatchObject({ return_code: 0, truncated: true, stdout_bytes: 1_500_000_009 });
    expect(job.stdout.endsWith('\nthe end\n')).toBe(true);
    await until(() => bytesOnDisk(file) <= KEPT);
    expect(most - before).toBeLessThan(100);
  });
});

describe.skipIf(!canMount())('on a full disk (needs root and a loop device)', () => {
  it('what is too much goes all the same, and makes the room that the others need', async () => {
    const disk = createOwnDisk({ megabytes: 64 });
    const full = await startRealAgent({ dataDir: disk.path, args: ['--max-output', '8M'] });
    try {
      const gate = join(scratch, 'room');
      const command = `until [ -e ${gate} ]; do sleep 0.05; done; head -c 40000000 /dev/zero; echo last`;
      await full.call('POST', '/run', { job_id: 'floods', command });
      process.kill(full.pid, 'SIGSTOP');
      writeFileSync(gate, '');
      await until(() => statSync(join(full.jobDir('floods'), 'out.log')).size === 40_000_005);
      disk.fill();
      process.kill(full.pid, 'SIGCONT');
      await until(async () => (await full.call('GET', '/status/floods')).body.truncated, {
        timeoutMs: 20_000,
      });
      await until(() => bytesOnDisk(join(full.jobDir('floods'), 'out.log')) <= 8 * MB);
      await until(() => existsSync(join(full.jobDir('floods'), 'dropped.json')));
    } finally {
      await full.stop();
      disk.remove();
    }
  });
});

describe('a command that cuts its own output', () => {
  it('makes no offset go back, and nobody reads one byte in the place of another', async () => {
    const gate = (n: number) => join(scratch, `cut-${n}`);
    const wait = (n: number) => `until [ -e ${gate(n)} ]; do sleep 0.05; done`;
    const command = `printf before; ${wait(1)}; : > /dev/stdout; ${wait(2)}; printf after`;
    await start('cuts', command);
    await until(async () => (await look('cuts')).stdout === 'before');
    writeFileSync(gate(1), '');
    await until(async () => (await look('cuts')).truncated);
    expect(await look('cuts')).toMatchObject({ stdout_bytes: 6, stdout: '' });
    expect((await agent.call('GET', '/logs/cuts?offset=0')).body).toEqual({
      data: '',
      offset: 6,
      next: 6,
      eof: false,
    });
    writeFileSync(gate(2), '');
    expect(await over('cuts')).toMatchObject({
      stdout_bytes: 11,
      stdout: 'after',
      stdout_sha256: null,
      truncated: true,
    });
    expect((await agent.call('GET', '/logs/cuts?offset=2')).body).toEqual({
      data: 'after',
      offset: 6,
      next: 11,
      eof: true,
    });
    expect((await agent.call('GET', '/logs/cuts?offset=8')).body).toEqual({
      data: 'ter',
      next: 11,
      eof: true,
    });
  });
});

describe('bytes that are no text', () => {
  it('are the same by any range, and characters that a range cuts in two stay whole', async () => {
    const bytes = Buffer.concat([randomBytes(100_000), Buffer.from('é\0\u{1f600}\r\n')]);
    writeFileSync(join(scratch, 'bytes'), bytes);
    await start('binary', `cat ${scratch}/bytes; cat ${scratch}/bytes >&2`);
    const job = await over('binary');
    expect(job.stdout_encoding).toBe('base64');
    expect(
      Buffer.from(job.stdout, 'base64').equals(bytes.subarray(-Buffer.from(job.stdout, 'base64').length)),
    ).toBe(true);
    for (const limit of [1, 7, 65_536]) {
      const offset = limit === 65_536 ? 0 : bytes.length - 12;
      const parts: Buffer[] = [];
      for (let at = offset; ; ) {
        const { body } = await agent.call('GET', `/logs/binary?stream=stderr&offset=${at}&limit=${limit}`);
        parts.push(bytesOf(body));
        at = body.next;
        if (body.eof) break;
      }
      expect(Buffer.concat(parts).equals(bytes.subarray(offset))).toBe(true);
    }
  });
});
