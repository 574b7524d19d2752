/**
 * Reads the top-level members of a JSON object piece by piece, so that the head of a reply of gigabytes, or one
 * range of a string in it, costs neither the memory nor the bytes of the rest. Text is handed on as UTF-8 bytes
 * with its escapes resolved; nested values are skipped. It finds members, it does not check the whole grammar:
 * a reply that arrived whole goes through `JSON.parse`.
 */
import { invalid } from './reply.ts';

export interface MemberSink {
  /** A piece of a string member; one empty piece before the first. */
  text(key: string, piece: Buffer): void;
  textEnd(key: string): void;
  /** A number, `true`, `false` or `null`. */
  literal(key: string, word: string): void;
}

const [QUOTE, BACKSLASH, OPEN, CLOSE, COMMA, COLON] = [0x22, 0x5c, 0x7b, 0x7d, 0x2c, 0x3a];
const ESCAPES: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

type Place = 'before' | 'key' | 'in_key' | 'colon' | 'value' | 'in_text' | 'in_literal' | 'nested' | 'end';

export function createMemberReader(sink: MemberSink) {
  let place: Place = 'before';
  let key = '';
  let word = '';
  /** An escape under way: what came after the backslash. */
  let escaped: string | null = null;
  let highSurrogate = '';
  let depth = 0;
  let nestedText = false;

  function give(piece: Buffer): void {
    if (place === 'in_text') sink.text(key, piece);
    else key += piece.toString('latin1');
    if (key.length > 64) throw invalid('a field with an endless name');
  }

  /** One byte of an escape; gives its character once it is whole. */
  function unescaped(char: string): void {
    escaped += char;
    const text = escaped ?? '';
    if (text[0] === 'u' && text.length < 5) return;
    escaped = null;
    if (text[0] !== 'u') {
      highSurrogate = '';
      give(Buffer.from(ESCAPES[text] ?? text));
      return;
    }
    const unit = String.fromCharCode(Number.parseInt(text.slice(1), 16));
    // Half of a character beyond U+FFFF: its other half is the next escape.
    if (/[\ud800-\udbff]/.test(unit)) highSurrogate = unit;
    else {
      give(Buffer.from(highSurrogate + unit));
      highSurrogate = '';
    }
  }

  /** Bytes of a string from `at`; returns where it stopped. */
  function string(chunk: Buffer, at: number): number {
    if (escaped !== null) {
      unescaped(String.fromCharCode(chunk[at]!));
      return at + 1;
    }
    let to = at;
    while (to < chunk.length && chunk[to] !== QUOTE && chunk[to] !== BACKSLASH) to++;
    if (to > at) give(chunk.subarray(at, to));
    if (to === chunk.length) return to;
    if (chunk[to] === BACKSLASH) escaped = '';
    else if (place === 'in_key') place = 'colon';
    else {
      sink.textEnd(key);
      place = 'key';
    }
    return to + 1;
  }

  function skipNested(byte: number): void {
    if (escaped !== null) escaped = null;
    else if (nestedText && byte === BACKSLASH) escaped = '';
    else if (byte === QUOTE) nestedText = !nestedText;
    else if (!nestedText && (byte === OPEN || byte === 0x5b)) depth++;
    else if (!nestedText && (byte === CLOSE || byte === 0x5d) && --depth === 0) place = 'key';
  }

  /** One byte between strings. */
  function step(byte: number): void {
    const blank = byte <= 0x20;
    switch (place) {
      case 'before':
        if (byte === OPEN) place = 'key';
        else if (!blank) throw invalid('it is not a JSON object');
        return;
      case 'key':
        key = '';
        if (byte === QUOTE) place = 'in_key';
        else if (byte === CLOSE) place = 'end';
        else if (!blank && byte !== COMMA) throw invalid('it is not JSON');
        return;
      case 'colon':
        if (byte === COLON) place = 'value';
        else if (!blank) throw invalid('it is not JSON');
        return;
      case 'value':
        value(byte, blank);
        return;
      case 'in_literal':
        literal(byte, blank);
        return;
      case 'nested':
        skipNested(byte);
        return;
    }
  }

  function value(byte: number, blank: boolean): void {
    if (blank) return;
    if (byte === QUOTE) {
      place = 'in_text';
      sink.text(key, Buffer.alloc(0));
    } else if (byte === OPEN || byte === 0x5b) {
      place = 'nested';
      depth = 1;
    } else {
      place = 'in_literal';
      word = String.fromCharCode(byte);
    }
  }

  function literal(byte: number, blank: boolean): void {
    if (byte !== COMMA && byte !== CLOSE && !blank) {
      word += String.fromCharCode(byte);
      if (word.length > 64) throw invalid('a field with an endless number');
      return;
    }
    sink.literal(key, word);
    place = byte === CLOSE ? 'end' : 'key';
  }

  return {
    /** @throws SluiceError agent_reply_invalid where it cannot be JSON */
    push(chunk: Buffer): void {
      let at = 0;
      while (at < chunk.length && place !== 'end') {
        if (place === 'in_key' || place === 'in_text') at = string(chunk, at);
        else step(chunk[at++]!);
      }
    },
  };
}
