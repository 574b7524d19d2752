/**
 * Reading what a command wrote. A job's user may own these files (tmux), so each is opened as hostile input: no
 * symbolic link, no FIFO that would block, regular, never more bytes than asked for, and of the same owner as its
 * directory: a hard link to somebody else's file is not.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

const SAFELY = constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** How much of each stream `GET /status/{id}` carries: the tail. */
export const TAIL_BYTES = 64 * 1024;

const MAX_HASHED_BYTES = 8 * 1024 ** 3;

/** What ends with 127 is a program that is not there; these are an old one, and a file system that has no holes. */
const NEVER = /unsupported|not supported|not implemented|(unrecognized|invalid|unknown) option/i;

/** No hole can be punched here, however often it is tried, and nothing was done. */
export class CannotPunch extends Error {}

export interface Text {
  data: string;
  encoding: 'base64' | null;
}

/** A small file that the job's user may have written; null where it is missing, not regular, or larger. */
export function readHostileFile(path: string, maxBytes: number): string | null {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | SAFELY);
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

/** Bytes `[offset, offset + limit)` of a file, as far as there are any. */
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

/** The end of a stream; where it was cut, a character that was cut in two is left out. */
export function textOfTail(bytes: Buffer, isCut: boolean): Text {
  if (!isCut) return toText(bytes);
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

/**
 * Gives `length` bytes of a file back to the disk; they read as zeros then, and all others stay where they are.
 * @throws CannotPunch where that is so of every file; any other error leaves it open which of them are gone
 */
export async function punchHole(path: string, offset: number, length: number): Promise<void> {
  const place = ['--punch-hole', '--offset', `${offset}`, '--length', `${length}`];
  const done = await withFile(
    path,
    async (handle) => {
      // By the descriptor, which is of the file that was looked at: its name may be another's by now.
      const child = spawn('env', ['LC_ALL=C', 'fallocate', ...place, '/proc/self/fd/3'], {
        stdio: ['ignore', 'ignore', 'pipe', handle.fd],
      });
      const closed = once(child, 'close') as Promise<[number | null]>;
      let said = '';
      // None where there are no descriptors left for it.
      child.stderr?.on('data', (chunk) => {
        said += chunk;
      });
      const [code] = await closed;
      if (code === 0) return true;
      const why = said.trim() || `fallocate ended with ${code}`;
      throw code === 127 || NEVER.test(why) ? new CannotPunch(why) : new Error(why);
    },
    constants.O_RDWR,
  );
  if (!done) throw new Error(`${path} is not a file of the job's own`);
}

async function withFile<T>(
  path: string,
  use: (handle: FileHandle) => Promise<T>,
  access: number = constants.O_RDONLY,
): Promise<T | null> {
  let handle: FileHandle;
  try {
    handle = await open(path, access | SAFELY);
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
