import { describe, expect, test } from 'vitest';
import { createEffort } from '../../src/workers/dispatch/effort.ts';
import { until } from '../helpers/until.ts';

describe('the effort of a process', () => {
  test('lets so many begin at once, and the others as room comes, first come, first served', async () => {
    const effort = createEffort(2);
    const begun: number[] = [];
    const begin = (i: number) => effort.begin().then(() => begun.push(i));
    await Promise.all([begin(1), begin(2)]);
    const others = [begin(3), begin(4)];
    await Promise.resolve();
    expect(begun).toEqual([1, 2]);
    effort.end();
    await others[0];
    expect(begun).toEqual([1, 2, 3]);
    effort.end();
    await others[1];
    expect(begun).toEqual([1, 2, 3, 4]);
  });

  test('is crowded while somebody waits to begin, and has room where nobody would have to', async () => {
    const effort = createEffort(1);
    expect(effort.hasRoom()).toBe(true);
    await effort.begin();
    expect(effort.hasRoom()).toBe(false);
    expect(effort.isCrowded()).toBe(false);
    const next = effort.begin();
    expect(effort.isCrowded()).toBe(true);
    effort.end();
    await next;
    expect(effort.isCrowded()).toBe(false);
  });

  test('counts what came with one that was waited for: nobody begins before there is room again', async () => {
    const effort = createEffort(2);
    await effort.begin();
    effort.add();
    effort.add();
    let hasBegun = false;
    const next = effort.begin().then(() => {
      hasBegun = true;
    });
    effort.end();
    await Promise.resolve();
    expect(hasBegun).toBe(false);
    effort.end();
    await next;
  });

  test('gives the room of one that waits for its host to another, and takes it back without waiting', async () => {
    const effort = createEffort(1);
    await effort.begin();
    let answer = () => {};
    const answered = effort.aside(() => new Promise<void>((resolve) => (answer = resolve)));
    await effort.begin();
    answer();
    await answered;
    // Two are at work now: the third waits for both.
    let hasBegun = false;
    void effort.begin().then(() => {
      hasBegun = true;
    });
    effort.end();
    await Promise.resolve();
    expect(hasBegun).toBe(false);
    effort.end();
    await until(() => hasBegun);
  });

  test('keeps the room of one whose host answers at once, also when it fails', async () => {
    const effort = createEffort(1);
    await effort.begin();
    await expect(effort.aside(() => Promise.reject(new Error('refused')))).rejects.toThrow('refused');
    let hasBegun = false;
    const next = effort.begin().then(() => {
      hasBegun = true;
    });
    await Promise.resolve();
    expect(hasBegun).toBe(false);
    effort.end();
    await next;
  });
});
