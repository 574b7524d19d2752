/**
 * Whether a Redis is fit to hold the records: new enough, takes writes, keeps what it is told when it is killed, and
 * never drops a key to make room. Nearly all of it is read from INFO, which managed services leave open; what only
 * CONFIG tells is left out where they close it, unless it was asked for by name (`SLUICE_DURABILITY=always`).
 *
 * Looks only: what is wrong with an operator's Redis is theirs to change.
 */
import type { Needs } from '../../job/durability.ts';
import type { Redis } from '../redis.ts';
import { connectedReplicas, readFacts, type ServerFacts, usedPart } from './server-facts.ts';

export interface Unfitness {
  what: string;
  remedy: string;
  /** True: it cannot work at all. False: it works until something goes wrong. */
  fatal: boolean;
  /** It must be told, but requests go on as well as ever: sending them elsewhere would mend nothing. */
  ready?: true;
}

const OLDEST = [7, 0] as const;
/** The used part of `maxmemory` from which on requests are better sent elsewhere. */
const FULL = 0.95;

/** @returns what is wrong with it; nothing if it is fit */
export async function inspectRedis(redis: Redis, needs: Needs): Promise<Unfitness[]> {
  const seen = { ...(await readFacts(redis)), needs };
  return CHECKS.map((check) => check(seen)).filter((found) => found !== null);
}

interface Seen extends ServerFacts {
  needs: Needs;
}
type Check = (seen: Seen) => Unfitness | null;

const CHECKS: Check[] = [
  version,
  loading,
  replica,
  policy,
  memory,
  appendOnly,
  sync,
  lastWrite,
  lastRewrite,
  lastSnapshot,
  tooFewForWrites,
  tooFewForAcknowledgement,
];

function version({ info }: Seen): Unfitness | null {
  const found = info.get('redis_version') ?? '0';
  if (!isOlder(found)) return null;
  return { what: `Redis is ${found}`, remedy: `use ${OLDEST.join('.')} or later, or Valkey`, fatal: true };
}

function loading({ info }: Seen): Unfitness | null {
  if (info.get('loading') !== '1') return null;
  return unfit('Redis is still reading its data', 'wait');
}

function replica({ info }: Seen): Unfitness | null {
  if (info.get('role') !== 'slave') return null;
  const primary = `${info.get('master_host')}:${info.get('master_port')}`;
  return unfit(
    `Redis is a replica of ${primary} and takes no writes`,
    'set REDIS_URL to its primary, or to the Sentinels (redis+sentinel://), or promote it (REPLICAOF NO ONE)',
  );
}

function policy({ info }: Seen): Unfitness | null {
  const found = info.get('maxmemory_policy');
  if (found === undefined || found === 'noeviction') return null;
  return unfit(
    `Redis drops keys when its memory is full (maxmemory-policy ${found}), jobs among them`,
    'set maxmemory-policy noeviction',
  );
}

function memory({ info }: Seen): Unfitness | null {
  const part = usedPart(info);
  if (part < FULL) return null;
  const percent = Math.round(part * 100);
  const consequence = part < 1 ? 'writes will soon be refused' : 'writes are refused';
  return unfit(`Redis' memory is used to ${percent} % of maxmemory: ${consequence}`, 'raise maxmemory');
}

function appendOnly({ info }: Seen): Unfitness | null {
  if (info.get('aof_enabled') !== '0') return null;
  return unfit(
    'Redis forgets acknowledged jobs when it is killed (appendonly no)',
    'set appendonly yes and appendfsync everysec',
  );
}

function sync({ settings, needs: { durability } }: Seen): Unfitness | null {
  const found = settings?.get('appendfsync');
  if (found === undefined) {
    if (durability === 'everysec') return null;
    return unfit(
      'Redis does not tell whether it syncs every write, which SLUICE_DURABILITY=always asks for',
      'let this user read it (ACL SETUSER ... +config|get), or set SLUICE_DURABILITY=everysec',
    );
  }
  if (found === 'always' || found === durability) return null;
  return unfit(
    `Redis syncs its file less often than SLUICE_DURABILITY=${durability} asks for (appendfsync ${found})`,
    `set appendfsync ${durability}${found === 'everysec' ? ', or SLUICE_DURABILITY=everysec' : ''}`,
  );
}

function lastWrite({ info }: Seen): Unfitness | null {
  if (info.get('aof_last_write_status') !== 'err') return null;
  return unfit(
    'Redis cannot write its append-only file (aof_last_write_status:err), and refuses writes',
    'see its log; is its disk full? It goes on by itself when it can write again',
  );
}

function lastRewrite({ info }: Seen): Unfitness | null {
  if (info.get('aof_last_bgrewrite_status') !== 'err') return null;
  const found = unfit(
    'Redis could not rewrite its append-only file (aof_last_bgrewrite_status:err), which grows until its disk is full',
    'see its log; does its disk, and its memory, hold a second copy? Then call BGREWRITEAOF',
  );
  return { ...found, ready: true };
}

/** Only where writes are refused for it; without CONFIG that is taken to be so, as it is by default. */
function lastSnapshot({ info, settings }: Seen): Unfitness | null {
  if (info.get('rdb_last_bgsave_status') !== 'err') return null;
  if (settings && (settings.get('save') === '' || settings.get('stop-writes-on-bgsave-error') === 'no')) {
    return null;
  }
  return unfit(
    'Redis could not save a snapshot (rdb_last_bgsave_status:err), and refuses writes',
    'see its log; is its disk full? With an append-only file it needs no snapshots: set save ""',
  );
}

function tooFewForWrites({ info, settings }: Seen): Unfitness | null {
  const good = info.get('min_slaves_good_slaves');
  const wanted = Number(settings?.get('min-replicas-to-write') ?? 0);
  if (good === undefined || Number(good) >= wanted) return null;
  return unfit(
    `Redis has ${good} of the ${wanted} replicas without which it refuses writes (min-replicas-to-write)`,
    'start its replicas, or lower min-replicas-to-write',
  );
}

function tooFewForAcknowledgement({ info, needs: { ackReplicas } }: Seen): Unfitness | null {
  const connected = connectedReplicas(info);
  if (connected >= ackReplicas) return null;
  return unfit(
    `Redis has ${connected} of the ${ackReplicas} replicas that SLUICE_ACK_REPLICAS asks for: nothing can be ` +
      'acknowledged, and nothing is started',
    'start its replicas and see that they reach it, or lower SLUICE_ACK_REPLICAS',
  );
}

function unfit(what: string, remedy: string): Unfitness {
  return { what, remedy, fatal: false };
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
}
