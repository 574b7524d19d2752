/**
 * The spool: where jobs live on the disk of the host, and the order of writes that makes an accepted job durable.
 *
 *   DATA/store.json          {"store_id"}: made with the spool; another id means that all jobs were forgotten
 *   DATA/jobs/<id>/          one job; appears by rename, so it is there whole or not at all
 *     job.json               what was accepted (0600)          spec     the same for the supervisor (0600)
 *     in/                    cmd, env: the user's to read, not to replace; the FIFOs of the start
 *     out.log err.log        what the command wrote            u/       the user's own: hostile input
 *     exit                   the supervisor's record of the end result.json  what the agent made of it: the end
 *   DATA/incoming/           what is being made, and what is being deleted
 *   DATA/nudges              the ids of jobs to which something happened, one a line, as it happens
 *   DATA/archive/            one line per job whose directory was cleared away
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdir, open, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { deleteTree } from './delete-tree.ts';
import { syncDirectory, writeFileDurably } from './durable-file.ts';
import { ensureDirectory } from './private-files.ts';
import { Refusal, refusalOfDisk } from './refusal.ts';

/** A twentieth of the disk is what isTight wants free, but within these. */
const MIN_ROOM_BYTES = 64 * 1024 * 1024;
const MAX_ROOM_BYTES = 1024 * 1024 * 1024;
const MAX_ROOM_INODES = 100_000;
/** Below these the spool takes no new job: what runs needs the rest. */
const MIN_FREE_BYTES = 32 * 1024 * 1024;
const MIN_FREE_INODES = 100;

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
  for (const path of [at('incoming'), at('archive')]) ensureDirectory(path, 0o700);
  // What a killed agent was making or deleting. Nobody waits for it: a user's tree may be large, or refuse to go.
  for (const name of readdirSync(at('incoming'))) deleteTree(at('incoming', name)).catch(() => undefined);

  const jobDir = (id: string) => at('jobs', id);

  return {
    dataDir,
    storeId: loadOrMakeStoreId(at('store.json')),
    binDir: at('bin'),
    nudges: at('nudges'),
    archiveDir: at('archive'),
    runDir: at('run'),
    jobDir,
    jobIds: () => readdirSync(at('jobs')),

    /** @throws Refusal disk_full where a new job would leave too little for those that run */
    async refuseIfFull(): Promise<void> {
      const { bavail, bsize, ffree, files } = await statfs(dataDir);
      const lacks =
        bavail * bsize < MIN_FREE_BYTES
          ? `less than ${MIN_FREE_BYTES / 1024 ** 2} MiB are free`
          : hasInodes(files) && ffree < MIN_FREE_INODES
            ? `less than ${MIN_FREE_INODES} inodes are free`
            : null;
      if (lacks) throw new Refusal(507, 'disk_full', `the disk of the spool is full: ${lacks}`);
    },

    /** Is there so little room, of bytes or of inodes, that old output should go before its time? */
    async isTight(): Promise<boolean> {
      const { bavail, blocks, bsize, ffree, files } = await statfs(dataDir);
      const fewBytes = Math.max(MIN_ROOM_BYTES, Math.min(MAX_ROOM_BYTES, (blocks * bsize) / 20));
      return bavail * bsize < fewBytes || (hasInodes(files) && ffree < Math.min(MAX_ROOM_INODES, files / 20));
    },

    /**
     * Makes the job durable. @returns false where there is such a job already; then nothing has changed
     * @throws Refusal disk_full where the disk takes no more; then nothing of it is there
     */
    async publish(id: string, files: SpoolFile[], user: { uid: number; gid: number }): Promise<boolean> {
      const fresh = at('incoming', `${id}.${randomBytes(6).toString('hex')}`);
      let published = false;
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
        published = true;
        syncDirectory(at('jobs'));
        return true;
      } catch (error) {
        if (published) await rename(jobDir(id), fresh);
        // What cannot be deleted now is at the next start; it must not hide why the job was not made.
        await rm(fresh, { recursive: true, force: true }).catch(() => undefined);
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOTEMPTY' || code === 'EEXIST') return false;
        throw refusalOfDisk(error);
      }
    },

    /**
     * Takes the job out of the spool in one step, then deletes it. @returns false where not all of it went by now
     * @throws Refusal disk_full where the disk takes no change
     */
    async remove(id: string): Promise<boolean> {
      const doomed = at('incoming', `${id}.${randomBytes(6).toString('hex')}`);
      await rename(jobDir(id), doomed).catch((error) => {
        throw refusalOfDisk(error);
      });
      return deleteTree(doomed).then(
        () => true,
        () => false,
      );
    },
  };
}

/** A file system without a table of inodes says that it has none at all. */
const hasInodes = (files: number) => files > 0;

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
