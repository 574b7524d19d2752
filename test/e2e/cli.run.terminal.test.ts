/** `sluice run` on a terminal: what is drawn and what stays, and what Ctrl-C asks. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanEnvironment, startGateway, type TestGateway } from '../helpers/gateway.ts';
import { CTRL_C, type OnTerminal, startOnTerminal } from '../helpers/on-terminal.ts';
import { until } from '../helpers/until.ts';
import { startWebHosts, type WebHosts } from '../helpers/web-hosts.ts';

const SLUICE = new URL('../../bin/sluice', import.meta.url).pathname;
const QUESTION = 'leave it running (l), cancel it (c), or go on waiting (w)?';

const NO_SIZE = { columns: 0, rows: 0 };

/** Each case starts several programs, one after the other. */
const PATIENCE_MS = 180_000;

let gateway: TestGateway;
let web: WebHosts;
beforeAll(async () => {
  gateway = await startGateway();
  web = await startWebHosts(gateway, 3);
});
afterAll(async () => {
  await web?.stop();
  await gateway?.stop();
});

function run(
  args: string[],
  { size, key }: { size?: { columns: number; rows: number }; key?: string } = {},
): OnTerminal {
  const as = key === undefined ? {} : { SLUICE_URL: gateway.url, SLUICE_API_KEY: key };
  const env = cleanEnvironment({ SLUICE_DATA: gateway.dataDir, ...as });
  return startOnTerminal([SLUICE, 'run', ...args], env, size);
}

/** A key that may not cancel. */
async function keyOf(name: string): Promise<string> {
  const grants = ['--scope', 'jobs:submit', '--scope', 'jobs:read', '--host', '*', '--own-user'];
  const { stdout } = await gateway.sluice('keys', 'create', name, ...grants);
  return /^SLUICE_API_KEY=(.+)$/m.exec(stdout)?.[1] ?? 'no key';
}

const idOn = (terminal: OnTerminal) => /\bbatch_[0-9A-Z]{26}\b/.exec(terminal.screen())?.[0] ?? 'no id';

async function stateOf(id: string): Promise<string> {
  const batch = (await (await gateway.call('GET', `/v1/batches/${id}`)).json()) as { state: string };
  return batch.state;
}

/** One that takes long, once it runs everywhere and was interrupted: asked what to do. */
async function interrupted(key?: string): Promise<OnTerminal> {
  const terminal = run(
    ['--hosts', 'web[1-3]', '--', 'echo begun; sleep 30'],
    key === undefined ? {} : { key },
  );
  await until(() => /\b3 running\b/.test(terminal.screen()));
  terminal.type(CTRL_C);
  await until(() => terminal.screen().includes(QUESTION));
  return terminal;
}

describe('what is drawn', { timeout: PATIENCE_MS }, () => {
  it('is a bar, the counts and the time, drawn over; hosts that fail and the output stay', async () => {
    const terminal = run(['--hosts', 'web[1-3]', '--waves', '1', '--', 'echo said; sleep 1; exit 4']);
    expect(await terminal.ended).toBe(2);
    const screen = terminal.screen();
    expect(screen).toMatch(/^batch_\w+ running, wave 1, 00:00:0\d$/m);
    expect(screen).toMatch(/^\[\.{40}\] 0 of 3$/m);
    expect(screen).toMatch(/\[#{13}\.{27}\] 1 of 3$/m);
    expect(screen).toMatch(/\[#{26}\.{14}\] 2 of 3$/m);
    expect(screen).toMatch(/1 failed, 1 running, 1 unstarted/);
    for (const host of ['web1', 'web2', 'web3']) {
      expect(screen.match(new RegExp(`job_\\w+ failed \\(exit 4\\) on ${host}$`, 'gm'))).toHaveLength(1);
    }
    expect(screen).toMatch(/== web\[1-3\] \(3\): failed \(4\)\nsaid\nbatch_\w+ failed, wave 3: 3 failed\n$/);
  });

  it('hides the cursor only while it draws', async () => {
    const terminal = run(['--hosts', 'web1', '--', 'true']);
    expect(await terminal.ended).toBe(0);
    expect(terminal.raw().lastIndexOf('\x1b[?25h')).toBeGreaterThan(terminal.raw().lastIndexOf('\x1b[?25l'));
  });

  it('is plain lines on a terminal that does not know its size', async () => {
    const terminal = run(['--hosts', 'web1', '--', 'echo said'], { size: NO_SIZE });
    expect(await terminal.ended).toBe(0);
    expect(terminal.raw()).not.toContain('\x1b');
    expect(terminal.screen()).toMatch(/^batch_\w+ running: .*\n(.*\n)*== web1 \(1\): succeeded\nsaid\n/);
  });
});

describe('Ctrl-C asks once', { timeout: PATIENCE_MS }, () => {
  it('l leaves the batch running, and says how to come back', async () => {
    const terminal = await interrupted();
    terminal.type('l');
    expect(await terminal.ended).toBe(130);
    const id = idOn(terminal);
    expect(terminal.screen()).toContain(`${id} goes on; \``);
    expect(await stateOf(id)).toBe('running');
    await gateway.sluice('batch', 'cancel', id);
  });

  it('c cancels it, waits for its end and shows the output', async () => {
    const terminal = await interrupted();
    terminal.type('c');
    expect(await terminal.ended).toBe(5);
    expect(terminal.screen()).toMatch(
      /== web\[1-3\] \(3\): canceled.*\nbegun\nbatch_\w+ canceled: 3 canceled\n$/,
    );
    expect(await stateOf(idOn(terminal))).toBe('canceled');
  });

  it('w goes on waiting, any other key is ignored, and then Ctrl-C leaves at once', async () => {
    const terminal = await interrupted();
    terminal.type('xw');
    await until(() => terminal.screen().split(QUESTION).at(-1)?.includes('3 running'));
    terminal.type(CTRL_C);
    expect(await terminal.ended).toBe(130);
    expect(await stateOf(idOn(terminal))).toBe('running');
    await gateway.sluice('batch', 'cancel', idOn(terminal));
  });

  it('a second Ctrl-C leaves, while it is asked and after a cancel, which is not taken back', async () => {
    const asked = await interrupted();
    asked.type(CTRL_C);
    expect(await asked.ended).toBe(130);
    expect(await stateOf(idOn(asked))).toBe('running');
    await gateway.sluice('batch', 'cancel', idOn(asked));

    const canceled = await interrupted();
    canceled.type(`c${CTRL_C}`);
    expect(await canceled.ended).toBe(130);
    expect(canceled.screen()).toMatch(/batch_\w+ is being canceled; /);
    await until(async () => (await stateOf(idOn(canceled))) === 'canceled');
  });
});

describe('Ctrl-C where nothing can be asked', { timeout: PATIENCE_MS }, () => {
  it.each([
    ['--quiet', ['--quiet'], {}],
    ['a terminal that does not know its size', [], { size: NO_SIZE }],
  ])('leaves at once, and the batch runs on: %s', async (what, flags, options) => {
    const label = what.replaceAll(' ', '-');
    const terminal = run(
      [...flags, '--hosts', 'web1', '--set-label', `case=${label}`, '--', 'sleep 30'],
      options,
    );
    const id = await until(async () => {
      const page = await gateway.call('GET', `/v1/batches?label=case:${label}`);
      const [batch] = ((await page.json()) as { items: { id: string; counts: { running: number } }[] }).items;
      return batch?.counts.running === 1 && batch.id;
    });
    terminal.type(CTRL_C);
    expect(await terminal.ended).toBe(130);
    expect(terminal.screen()).toContain(`${id} goes on; \``);
    expect(await stateOf(id)).toBe('running');
    await gateway.sluice('batch', 'cancel', id);
  });
});

describe('a terminal is left as it was', { timeout: PATIENCE_MS }, () => {
  it('by a cancel that is refused, which is told, and nothing is said to be canceled', async () => {
    const terminal = await interrupted(await keyOf('no-cancel'));
    terminal.type(`c${CTRL_C}`);
    expect(await terminal.ended).toBe(130);
    const id = idOn(terminal);
    expect(terminal.screen()).toMatch(/jobs:cancel/);
    expect(terminal.screen()).toContain(`${id} goes on; \``);
    expect(terminal.screen()).not.toContain('is being canceled');
    expect(await stateOf(id)).toBe('running');
    await gateway.sluice('batch', 'cancel', id);
  });

  it('by an error while it is asked', async () => {
    const key = await keyOf('revoked');
    const terminal = await interrupted(key);
    const id = idOn(terminal);
    await gateway.sluice('keys', 'revoke', 'revoked');
    const headers = { authorization: `Bearer ${key}` };
    await until(
      async () => (await gateway.call('GET', `/v1/batches/${id}`, undefined, headers)).status === 401,
    );
    // What it holds is answered, and its next question is not.
    await gateway.sluice('batch', 'pause', id);
    expect(await terminal.ended).toBe(1);
    expect(terminal.raw().lastIndexOf('\x1b[?25h')).toBeGreaterThan(terminal.raw().lastIndexOf('\x1b[?25l'));
    await gateway.sluice('batch', 'cancel', id);
  });
});
