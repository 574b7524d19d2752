/** Folding and unfolding of host names: what is folded unfolds to the same names, and a mistake is named. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fold, HostNamesError, unfold } from '../../src/job/host-names.ts';

const MANY = 100_000;
const expand = (...texts: string[]) => unfold(texts, MANY);
const sorted = (names: readonly string[]) => [...new Set(names)].sort();

/** Few texts and numbers, so that names are often of one shape, and often have neighbours. */
const digits = fc
  .tuple(fc.integer({ min: 0, max: 120 }), fc.integer({ min: 1, max: 3 }))
  .map(([value, width]) => `${value}`.padStart(width, '0'));
const text = fc.constantFrom('web', 'n', '-', '.x', ':', '_');
const name = fc
  .array(fc.tuple(text, fc.option(digits, { nil: '' })), { minLength: 1, maxLength: 3 })
  .map((parts) => parts.flat().join(''));
const address = fc.constantFrom('[::1]:18443', '[fe80::1%eth0]:1', '[2001:db8::7]:65535', '10.0.0.1:18443');
const names = fc.array(fc.oneof({ weight: 9, arbitrary: name }, address), { minLength: 1, maxLength: 60 });

describe('folding host names', () => {
  it('gives a text that unfolds to exactly the same names', () => {
    fc.assert(
      fc.property(names, (list) => {
        expect(expand(fold(list)).sort()).toEqual(sorted(list));
      }),
      { numRuns: 1_000 },
    );
  });

  it('gives the same names back for anything that is a name', () => {
    const any = fc.stringMatching(/^[A-Za-z0-9._:-]{1,30}$/);
    fc.assert(
      fc.property(fc.array(any, { minLength: 1, maxLength: 30 }), (list) => {
        expect(expand(fold(list)).sort()).toEqual(sorted(list));
      }),
      { numRuns: 1_000 },
    );
  });

  it('gives the same text in whatever order the names come, and however often', () => {
    const shuffles = names.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray([...list, ...list], { minLength: list.length * 2 })),
    );
    fc.assert(
      fc.property(shuffles, ([list, shuffled]) => {
        expect(fold(shuffled)).toBe(fold(list));
      }),
    );
  });

  it('never mixes 7 with 07, and keeps the leading zeros of a range', () => {
    fc.assert(
      fc.property(
        fc.nat(995),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 6 }),
        (from, length, width) => {
          const values = Array.from({ length }, (_, i) => `web${`${from + i}`.padStart(width, '0')}`);
          const [first, last] = [values[0], values.at(-1)].map((one) => one?.slice(3));
          expect(fold(values)).toBe(length === 1 ? values[0] : `web[${first}-${last}]`);
        },
      ),
    );
    expect(fold(['web1', 'web01', 'web2', 'web02'])).toBe('web[1-2,01-02]');
  });

  it('folds every combination of several numbers into one name', () => {
    const upTo = (max: number) => fc.integer({ min: 2, max });
    fc.assert(
      fc.property(upTo(9), upTo(20), upTo(4), (racks, nodes, sites) => {
        const list = [];
        for (let r = 1; r <= racks; r++)
          for (let n = 1; n <= nodes; n++)
            for (let s = 1; s <= sites; s++) list.push(`r${r}n${`${n}`.padStart(3, '0')}.dc${s}`);
        const text = `r[1-${racks}]n[001-${`${nodes}`.padStart(3, '0')}].dc[1-${sites}]`;
        expect(fold(list.toReversed())).toBe(text);
        expect(expand(text)).toEqual(list);
      }),
    );
  });

  it.each([
    ['web2,db3,web1,web10,db1', 'db[1,3],web[1-2,10]'],
    ['a9,a10,a11', 'a[9-11]'],
    ['a09,a10,a11', 'a[09-11]'],
    ['a98,a099,a100', 'a[98,099-100]'],
    ['a1b1,a1b2,a1b3,a2b1,a3b1', 'a1b[1-3],a[2-3]b1'],
    ['10.0.0.1:18443,10.0.0.2:18443', '10.0.0.[1-2]:18443'],
    ['[::1]:18443,[::2]:18443', '[::1]:18443,[::2]:18443'],
    ['mail,www', 'mail,www'],
    ['n20261123012345678901,n20261123012345678902', 'n20261123012345678901,n20261123012345678902'],
  ])('folds %s to %s', (list, folded) => {
    expect(fold(list.split(','))).toBe(folded);
  });

  it('makes nothing of no names', () => {
    expect(fold([])).toBe('');
  });
});

describe('unfolding host names', () => {
  it.each([
    ['web[001-003]', 'web001 web002 web003'],
    ['db[1,3]', 'db1 db3'],
    ['a[1-2]b[3-4].x', 'a1b3.x a1b4.x a2b3.x a2b4.x'],
    ['a[1-2][0-1]', 'a10 a11 a20 a21'],
    ['web[08-11,3]', 'web08 web09 web10 web11 web3'],
    ['web[98-101]', 'web98 web99 web100 web101'],
    ['web[1-2], db1 ,web2', 'web1 web2 db1'],
    ['[1-2]:18443', '1:18443 2:18443'],
    ['[::1]:18443,[2001:db8::7]:1', '[::1]:18443 [2001:db8::7]:1'],
  ])('makes of %s: %s', (folded, list) => {
    expect(expand(folded).join(' ')).toBe(list);
  });

  it('takes several texts, and gives every name once', () => {
    expect(expand('web[1-2],db1', 'web[2-3]')).toEqual(['web1', 'web2', 'db1', 'web3']);
  });

  it.each([
    ['web[1-3', 'web[1-3: the bracket is not closed'],
    ['web[1-3,db1', 'web[1-3,db1: the bracket is not closed'],
    ['web1-3]', 'web1-3]: a closing bracket without an opening one'],
    ['web[[1-3]]', 'web[[1-3]]: [1-3 is neither a number nor a range like 1-9'],
    ['web[]', 'web[]: nothing stands in the brackets'],
    ['web[1,,3]', 'web[1,,3]: a number is missing beside a comma'],
    ['web[1-]', 'web[1-]: 1- is neither a number nor a range like 1-9'],
    ['web[a-c]', 'web[a-c]: a-c is neither a number nor a range like 1-9'],
    ['web[1-9/2]', 'web[1-9/2]: 1-9/2 has a step, and steps are not known here'],
    ['web[9-1]', 'web[9-1]: 9-1 runs backwards'],
    ['web[01-100]', 'web[01-100]: 01-100 mixes widths: with leading zeros, both ends have as many digits'],
    ['web[1-010]', 'web[1-010]: 1-010 mixes widths: with leading zeros, both ends have as many digits'],
    ['web[1-1234567890123456]', 'web[1-1234567890123456]: a number has at most 15 digits'],
    ['web1,,web2', 'web1,,web2: a name is missing'],
    ['', 'the text is empty: a name is missing'],
    ['web 1', 'web 1: a name cannot contain " ", only A-Z, a-z, 0-9 and . _ : -'],
    ['wéb', 'wéb: a name cannot contain "é", only A-Z, a-z, 0-9 and . _ : -'],
    [`${'x'.repeat(252)}[9-10]`, `${'x'.repeat(80)}…: a name has at most 253 characters`],
  ])('refuses %s', (folded, message) => {
    const problem = expect.objectContaining({ name: 'HostNamesError', message, index: 1 });
    expect(() => expand('web1', folded)).toThrow(problem);
  });

  it('counts the names before it makes any', () => {
    const before = process.memoryUsage().heapUsed;
    expect(() => unfold(['db[1-3]', 'web[1-999999999]'], 10_000)).toThrow(
      new HostNamesError('1000000002 names; at most 10000 can be given'),
    );
    expect(() => unfold(['n[1-999999]'.repeat(20)], 10_000)).toThrow(/names; at most 10000/);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(20_000_000);
    expect(unfold(['web[1-10000]'], 10_000)).toHaveLength(10_000);
  });
});
