import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRangeReader } from '../../src/net/agent/base-output.ts';
import { createStatusHead } from '../../src/net/agent/base-status.ts';
import { createMemberReader } from '../../src/net/agent/json-members.ts';

/** Reads `text` in pieces of the given sizes, the last size repeating. */
function read(text: string, sizes: number[]) {
  const members = new Map<string, string>();
  const texts = new Map<string, Buffer[]>();
  const reader = createMemberReader({
    text: (key, piece) => void texts.set(key, [...(texts.get(key) ?? []), Buffer.from(piece)]),
    textEnd: (key) => void members.set(key, `"${Buffer.concat(texts.get(key) ?? []).toString('utf8')}"`),
    literal: (key, word) => void members.set(key, word),
  });
  const bytes = Buffer.from(text);
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[Math.min(i, sizes.length - 1)]!;
    reader.push(bytes.subarray(at, at + size));
    at += size;
  }
  return Object.fromEntries(members);
}

const escapedToAscii = (json: string) =>
  json.replaceAll(/[\u0080-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);

describe('the members of an object', () => {
  const value = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.string({ unit: 'binary' }),
    fc.integer(),
    fc.constantFrom(true, false, null),
    fc.array(fc.string()),
    fc.dictionary(fc.string(), fc.string()),
  );
  const object = fc.dictionary(fc.stringMatching(/^[a-z]{1,20}$/), value);
  const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 });

  test('are those that JSON.parse finds, however the text is cut and escaped', () => {
    fc.assert(
      fc.property(object, sizes, fc.boolean(), fc.constantFrom(0, 2), (one, cuts, ascii, indent) => {
        const text = JSON.stringify(one, null, indent);
        const expected = Object.entries(one)
          .filter(([, kept]) => typeof kept !== 'object' || kept === null)
          .map(([key, kept]) => [key, typeof kept === 'string' ? `"${kept}"` : String(kept)]);
        expect(read(ascii ? escapedToAscii(text) : text, cuts)).toEqual(Object.fromEntries(expected));
      }),
    );
  });

  test.each(['<html>', '[1]', '{x}', '{"a" 1}', `{"${'k'.repeat(100)}":1}`, `{"a":${'1'.repeat(100)}`])(
    '%j is refused',
    (text) => {
      expect(() => read(text, [3])).toThrow(/makes no sense/);
    },
  );
});

describe('the head of a status', () => {
  const head = (text: string) => {
    const made = createStatusHead();
    return { enough: made.push(Buffer.from(text)), said: () => made.read() };
  };

  test('of a running job is enough before its output begins', () => {
    const { enough, said } = head('{"job_id":"x","status":"running","return_code":null,"stdout":"endle');
    expect(enough).toBe(true);
    expect(said()).toEqual({ status: 'running', return_code: null });
  });

  test('is found in the order of the Go generation', () => {
    const { enough } = head('{"job_id":"x","return_code":null,"status":"running","stderr":"endle');
    expect(enough).toBe(true);
  });

  test('of an ended job asks for the rest, and knows the code without it', () => {
    const { enough, said } = head('{"job_id":"x","status":"running\\n","return_code":7,"stdout":"endle');
    expect(enough).toBe(false);
    expect(said()).toEqual({ status: 'running', return_code: 7 });
  });

  test('of an unknown job has no code at all', () => {
    const { enough } = head('{"job_id":"x","status":"unknown"}');
    expect(enough).toBe(false);
  });

  test('an empty status is unknown', () => {
    expect(head('{"return_code":null,"status":""').said()).toEqual({ status: 'unknown', return_code: null });
  });

  test('what begins with something else makes no sense', () => {
    expect(head('{"stdout":"xxx').said).toThrow(/makes no sense/);
    expect(head('{"status":"ok","return_code":"x').said).toThrow(/makes no sense/);
  });
});

describe('a range of a string', () => {
  test('is exact in bytes, wherever the pieces and the escapes are cut', () => {
    const whole = Buffer.from('zero\none "two" \u00e9\u20ac\u{1f600} three\\four');
    const reply = Buffer.from(JSON.stringify({ stderr: 'before', stdout: whole.toString() }));
    const part = fc.record({ offset: fc.nat(50), limit: fc.integer({ min: 1, max: 50 }) });
    fc.assert(
      fc.property(part, fc.integer({ min: 1, max: 9 }), ({ offset, limit }, size) => {
        const reader = createRangeReader('stdout', offset, limit);
        for (let at = 0; at < reply.length; at += size) {
          if (reader.push(reply.subarray(at, at + size))) break;
        }
        const { data, next } = reader.statusRange(offset);
        expect(data).toEqual(whole.subarray(offset, offset + limit));
        expect(next).toBe(offset + data.length);
      }),
    );
  });

  test('stops asking for more once it has what was wanted', () => {
    const reader = createRangeReader('stdout', 2, 3);
    expect(reader.push(Buffer.from('{"return_code":0,"stdout":"0123'))).toBe(false);
    expect(reader.push(Buffer.from('456789'))).toBe(true);
    expect(reader.statusRange(2)).toEqual({ data: Buffer.from('234'), next: 5, eof: false });
  });

  test('is the end only where the stream ends and the job is over', () => {
    const end = (code: string) => {
      const reader = createRangeReader('stdout', 0, 10);
      reader.push(Buffer.from(`{"return_code":${code},"stdout":"abc"}`));
      return reader.statusRange(0).eof;
    };
    expect([end('null'), end('0')]).toEqual([false, true]);
  });
});
