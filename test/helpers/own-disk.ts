/**
 * A small disk of a test's own (ext4 in a file, through a loop device) that can be filled up, run out of inodes and
 * become read-only, while files on it are open, and recover from each. Needs root. A tmpfs would not do: it takes an
 * inode for each name of a file, as no disk does.
 *
 *     const disk = createOwnDisk({ megabytes: 64, inodes: 600 });
 *     disk.fill(); ...; disk.free();
 *     disk.remove();   // in afterEach or finally: it unmounts, also what a failed case left mounted
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where a login has no administrator's PATH, mkfs is there all the same. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

export type OwnDisk = ReturnType<typeof createOwnDisk>;

/** Can this machine mount one? Cases that need it are skipped where it cannot, and say so in their names. */
export function canMount(): boolean {
  try {
    createOwnDisk({ megabytes: 2, inodes: 64 }).remove();
    return true;
  } catch {
    return false;
  }
}

/** @throws where it cannot be mounted */
export function createOwnDisk(options: { megabytes: number; inodes?: number }) {
  const path = mkdtempSync(join(tmpdir(), 'own-disk-'));
  const image = `${path}.img`;
  try {
    // Nothing is kept back for root, whom a full disk would otherwise not concern.
    const layout = ['-q', '-m', '0', '-N', `${options.inodes ?? 1000}`];
    execFileSync('mkfs.ext4', [...layout, image, `${options.megabytes}M`], { stdio: 'pipe', env: { PATH } });
    execFileSync('mount', ['-o', 'loop', image, path], { stdio: 'pipe', env: { PATH } });
  } catch (error) {
    rmSync(path, { recursive: true });
    rmSync(image, { force: true });
    throw error;
  }
  chmodSync(path, 0o711);
  const ballast = join(path, 'ballast');
  let mounts = 1;

  return {
    path,

    /** Writes until not one byte more goes in. */
    fill(): void {
      const fd = openSync(ballast, 'a');
      try {
        for (const size of [1024 * 1024, 4096, 1]) untilFull(() => writeSync(fd, Buffer.alloc(size)));
      } finally {
        closeSync(fd);
      }
    },

    /** Makes files until not one more can be made. */
    takeAllInodes(): void {
      mkdirSync(ballast, { recursive: true });
      let count = 0;
      untilFull(() => writeFileSync(join(ballast, `${count++}`), ''));
    },

    /** Takes back what `fill` or `takeAllInodes` did. */
    free(): void {
      rmSync(ballast, { recursive: true, force: true });
    },

    /** From now on nothing can be opened for writing; what is open stays so, as on a disk that the kernel gave up. */
    makeReadOnly(): void {
      execFileSync('mount', ['--bind', path, path]);
      mounts++;
      execFileSync('mount', ['-o', 'remount,bind,ro', path]);
    },

    makeWritable(): void {
      execFileSync('umount', ['-l', path]);
      mounts--;
    },

    remove(): void {
      while (mounts > 0) {
        execFileSync('umount', ['-l', path]);
        mounts--;
      }
      rmSync(path, { recursive: true });
      rmSync(image);
    },
  };
}

function untilFull(write: () => void): void {
  for (;;) {
    try {
      write();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return;
      throw error;
    }
  }
}
