/**
 * The data directory of `sluice up` (`--data`, `SLUICE_DATA`): what is where in it, and that one `sluice up` at a
 * time uses it. Every secret in it is readable by its owner only.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, realpathSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Failure } from '../failure.ts';

export interface DataDir {
  path: string;
  redisDir: string;
  redisSocket: string;
  secretKeyFile: string;
  /** URL, first key and its webhook secret, as a shell reads them. */
  keyFile: string;
  agentDir: string;
  agentTokenFile: string;
  /** Where the child of this name is noted. */
  pidFile(child: string): string;
}

/** Root's home is closed to the users that root's agent runs jobs as; they must reach their job's files. */
const DEFAULT_PLACE = () =>
  process.geteuid?.() === 0 ? '/var/lib/sluice' : join(homedir(), '.local/share/sluice');

/** @param dataDir null: where data of a user's programs belongs */
export function dataDirAt(dataDir: string | null): DataDir {
  const path = resolve(dataDir ?? DEFAULT_PLACE());
  const redisDir = join(path, 'redis');
  return {
    path,
    redisDir,
    redisSocket: socketFor(redisDir),
    secretKeyFile: join(path, 'secret.key'),
    keyFile: join(path, 'key.env'),
    agentDir: join(path, 'agent'),
    agentTokenFile: join(path, 'agent', 'token'),
    pidFile: (child) => join(path, `${child}.pid`),
  };
}

/** Makes what is missing. @throws Failure where it belongs to somebody else or others may write to it */
export function prepareDataDir(data: DataDir): void {
  // Passed through by the users of the agent's jobs, and listed by nobody but its owner.
  for (const path of [data.path, data.agentDir]) prepare(path, 0o711);
  for (const path of [data.redisDir, dirname(data.redisSocket)]) prepare(path, 0o700);
}

function prepare(path: string, mode: number): void {
  try {
    // The umask may have taken bits away.
    if (mkdirSync(path, { recursive: true, mode }) !== undefined) chmodSync(path, mode);
  } catch (error) {
    throw new Failure(
      `${path} cannot be made (${(error as Error).message}); choose another place with --data`,
    );
  }
  const { uid, mode: found } = statSync(path);
  if (uid !== process.geteuid?.() || (found & 0o022) !== 0) {
    throw new Failure(`${path} must be yours and writable by nobody else; choose another place with --data`);
  }
}

/** @returns the first directory on the way to the data that other users cannot pass through */
export function closedToOthers(data: DataDir): string | undefined {
  const parts = data.agentDir.split('/').slice(1);
  const ways = parts.map((_, i) => `/${parts.slice(0, i + 1).join('/')}`);
  return ways.find((way) => (statSync(way).mode & 0o001) === 0);
}

/**
 * Takes the directory for this process. The lock is a name in the kernel that ends with the process, however it
 * ends: nothing stale can be left behind.
 * @returns how to give it back
 */
export async function lockDataDir(data: DataDir): Promise<() => void> {
  const server = createServer();
  server.unref();
  server.listen(`\0sluice-up-${digest(realpathSync(data.path))}`);
  try {
    await once(server, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new Failure(
      `another \`sluice up\` runs on ${data.path}; stop it first, or choose another place with --data`,
    );
  }
  return () => server.close();
}

/** A Unix socket's path may have 107 bytes; beyond that it lies in a directory of our own under /tmp. */
function socketFor(redisDir: string): string {
  const beside = join(redisDir, 'redis.sock');
  return Buffer.byteLength(beside) < 100
    ? beside
    : join(tmpdir(), `sluice-${digest(redisDir)}`, 'redis.sock');
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 24);
}
