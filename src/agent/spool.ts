/**
 * The spool: where jobs live on the disk of the host, and the order of writes that makes an accepted job durable.
 *
 *   DATA/store.json          {"store_id"}: made with the spool; another id means that all jobs were forgotten
 *   DATA/jobs/<id>/          one job; appears by rename, so it is there whole or not at all
 *     job.json               what was accepted (0600)          spec     the same for the supervisor (0600)
 *     in/                    cmd, env: the user's to read, not to replace; the FIFOs of the start
 *     out.log err.log        what the command wrote            u/       the user's own: hostile input
 *     exit                   the supervisor's record of the end result.json  what the agent made of it: the end
 *   DATA/done/               a file here says that something happened to the job of that name
 *   DATA/archive/            one line per job whose directory was cleared away
 */
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { chmod, chown, mkdir, open, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from './durable-file.ts';
import { ensureDirectory } from './scripts.ts';

/** One file of a job that is being accepted. `uid` and `gid` where it is the job's user's. */
export interface SpoolFile {
  path: string;
  content: string;
  mode: number;
  owner?: { uid: number; gid: number };
}

export type Spool = ReturnType<typeof openSpool>;

/** @throws where the data directory cannot be used */
export function openSpool(dataDir: string) {
  const at = (...parts: string[]) => join(dataDir, ...parts);
  // Users must be able to reach their own job's directory, and to list nobody's.
  for (const path of [dataDir, at('bin'), at('jobs'), at('run')]) ensureDirectory(path, 0o711);
  for (const path of [at('incoming'), at('done'), at('archive')]) ensureDirectory(path, 0o700);
  for (const name of readdirSync(at('incoming'))) rmSync(at('incoming', name), { recursive: true });

  const jobDir = (id: string) => at('jobs', id);

  return {
    dataDir,
    storeId: loadOrMakeStoreId(at('store.json')),
    binDir: at('bin'),
    doneDir: at('done'),
    archiveDir: at('archive'),
    runDir: at('run'),
    jobDir,
    jobIds: () => readdirSync(at('jobs')),

    async freeBytes(): Promise<number> {
      const { bavail, bsize } = await statfs(dataDir);
      return bavail * bsize;
    },

    /** Makes the job durable. @returns false where there is such a job already; then nothing has changed */
    async publish(id: string, files: SpoolFile[], user: { uid: number; gid: number }): Promise<boolean> {
      const fresh = at('incoming', `${id}.${randomBytes(6).toString('hex')}`);
      try {
        await mkdir(fresh, { mode: 0o711 });
        await mkdir(join(fresh, 'in'), { mode: 0o711 });
        await mkdir(join(fresh, 'u'), { mode: 0o700 });
        await chmod(fresh, 0o711);
        await chmod(join(fresh, 'in'), 0o711);
        await chown(join(fresh, 'u'), user.uid, user.gid);
        for (const file of files) await writeNew(fresh, file);
        syncDirectory(fresh);
        await rename(fresh, jobDir(id));
        syncDirectory(at('jobs'));
        return true;
      } catch (error) {
        await rm(fresh, { recursive: true, force: true });
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOTEMPTY' || code === 'EEXIST') return false;
        throw error;
      }
    },

    async remove(id: string): Promise<void> {
      await rm(jobDir(id), { recursive: true, force: true });
    },
  };
}

async function writeNew(directory: string, file: SpoolFile): Promise<void> {
  const handle = await open(join(directory, file.path), 'wx', file.mode);
  try {
    await handle.writeFile(file.content);
    if (file.owner) await handle.chown(file.owner.uid, file.owner.gid);
    if (file.content !== '') await handle.sync();
  } finally {
    await handle.close();
  }
}

function loadOrMakeStoreId(file: string): string {
  if (!existsSync(file)) {
    writeFileDurably(file, JSON.stringify({ store_id: randomBytes(16).toString('hex') }));
  }
  const { store_id: storeId } = JSON.parse(readFileSync(file, 'utf8')) as { store_id?: unknown };
  if (typeof storeId !== 'string' || !/^[0-9a-f]{32}$/.test(storeId)) throw new Error(`${file} is damaged`);
  return storeId;
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
