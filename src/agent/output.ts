/**
 * Reading what a command wrote. A job's user may own these files (tmux), so each is opened as hostile input: no
 * symbolic link, no FIFO that would block, regular, never more bytes than asked for, and of the same owner as its
 * directory: a hard link to somebody else's file is not.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

const SAFELY = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** How much of each stream `GET /status/{id}` carries: the tail. */
export const TAIL_BYTES = 64 * 1024;

const MAX_HASHED_BYTES = 8 * 1024 ** 3;

export interface Text {
  data: string;
  encoding: 'base64' | null;
}

/** A small file that the job's user may have written; null where it is missing, not regular, or larger. */
export function readHostileFile(path: string, maxBytes: number): string | null {
  let fd: number;
  try {
    fd = openSync(path, SAFELY);
  } catch {
    return null;
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.uid !== statSync(dirname(path)).uid || stat.size > maxBytes) return null;
    const buffer = Buffer.alloc(maxBytes);
    return buffer.toString('utf8', 0, readSync(fd, buffer, 0, maxBytes, 0));
  } finally {
    closeSync(fd);
  }
}

/** How many bytes a stream has; 0 where there is none. */
export async function sizeOf(path: string): Promise<number> {
  return (await withFile(path, async (handle) => (await handle.stat()).size)) ?? 0;
}

/** Bytes `[offset, offset + limit)` of a stream, as far as there are any. */
export async function readRange(path: string, offset: number, limit: number): Promise<Buffer> {
  const read = await withFile(path, async (handle) => {
    const buffer = Buffer.alloc(limit);
    let length = 0;
    while (length < limit) {
      const { bytesRead } = await handle.read(buffer, length, limit - length, offset + length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  });
  return read ?? Buffer.alloc(0);
}

/** The end of a stream of `size` bytes; where it was cut, a character that was cut in two is left out. */
export async function readTail(path: string, size: number): Promise<Text> {
  const offset = Math.max(0, size - TAIL_BYTES);
  const bytes = await readRange(path, offset, Math.min(size, TAIL_BYTES));
  if (offset === 0) return toText(bytes);
  let start = 0;
  while (start < 3 && start < bytes.length && (bytes[start]! & 0xc0) === 0x80) start++;
  return toText(bytes.subarray(start));
}

/** Text where the bytes are UTF-8, base64 where they are not. */
export function toText(bytes: Buffer): Text {
  try {
    return { data: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), encoding: null };
  } catch {
    return { data: bytes.toString('base64'), encoding: 'base64' };
  }
}

/** SHA-256 of the first `size` bytes, in hex; null where they are too many: a file may be terabytes and hold nothing. */
export async function hashOf(path: string, size: number): Promise<string | null> {
  if (size > MAX_HASHED_BYTES) return null;
  const hash = createHash('sha256');
  await withFile(path, async (handle) => {
    const buffer = Buffer.alloc(256 * 1024);
    for (let offset = 0; offset < size; ) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - offset), offset);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      offset += bytesRead;
    }
  });
  return hash.digest('hex');
}

async function withFile<T>(path: string, use: (handle: FileHandle) => Promise<T>): Promise<T | null> {
  let handle: FileHandle;
  try {
    handle = await open(path, SAFELY);
  } catch {
    return null;
  }
  try {
    const file = await handle.stat();
    const isOwn = file.uid === (await stat(dirname(path))).uid;
    return file.isFile() && isOwn ? await use(handle) : null;
  } finally {
    await handle.close();
  }
}
