import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { CRASH_POINTS, createReach, parseCrashAt } from '../../src/job/crash-points.ts';
import { createCrashPoints } from '../../src/workers/crash-points.ts';

describe('crash points', () => {
  it('docs/crash-points.md has a row for each, and no other', () => {
    const text = readFileSync(join(import.meta.dirname, '../../docs/crash-points.md'), 'utf8');
    const rows = text.match(/^\| `[a-z._]+` \|.*$/gm);
    expect(rows).toEqual(Object.entries(CRASH_POINTS).map(([name, means]) => `| \`${name}\` | ${means} |`));
  });

  it('are read with how often they are to be reached before', () => {
    expect(parseCrashAt('dispatch.sent')).toEqual({ point: 'dispatch.sent', nth: 1 });
    expect(parseCrashAt('dispatch.sent:12')).toEqual({ point: 'dispatch.sent', nth: 12 });
    const wrong = ['', 'dispatch', 'dispatch.sent:', 'dispatch.sent:0', 'toString', 'dispatch.sent:1:2'];
    expect(wrong.map(parseCrashAt)).toEqual(wrong.map(() => null));
  });

  it('end the process at the Nth time that the one asked for is reached, and at no other', () => {
    let deaths = 0;
    const reach = createReach({ point: 'deliver.sent', nth: 2 }, () => deaths++);
    reach('deliver.sent');
    reach('deliver.claimed');
    expect(deaths).toBe(0);
    reach('deliver.sent');
    expect(deaths).toBe(1);
    reach('deliver.sent');
    expect(deaths).toBe(1);
  });

  it('change no part of a program where none is asked for', () => {
    const points = createCrashPoints(null, () => expect.unreachable());
    const wake = () => undefined;
    expect(points.onTold(wake)).toBe(wake);
  });

  it('are refused at start by the list of those there are where the name is unknown', () => {
    expect(loadConfig({}, {}).crashAt).toBe(null);
    expect(loadConfig({}, { SLUICE_CRASH_AT: 'sweep.removed:3' }).crashAt).toEqual({
      point: 'sweep.removed',
      nth: 3,
    });
    const load = () => loadConfig({}, { SLUICE_CRASH_AT: 'sweep.gone' });
    expect(load).toThrow(/^SLUICE_CRASH_AT: dangerously_crash_at: must be a crash point.*sweep\.removed/s);
  });
});
