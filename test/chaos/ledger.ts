/**
 * What the rig itself knows, apart from the gateway: what was asked and acknowledged, what callers and the receiver
 * were told of it, and what the hosts ran.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isOver, isState } from '../../src/job/states.ts';
import type { HostKind } from './hosts.ts';
import type { Order } from './orders.ts';

export interface Entry {
  /** Its idempotency key, and the name of its command's file. */
  key: string;
  host: string;
  kind: HostKind;
  order: Order;
  askedAt: number;
  /** Null until it was acknowledged. */
  id: string | null;
  acknowledgedAt: number | null;
  /** Somebody began to ask for its cancel. */
  cancelAsked: boolean;
}

/** A version of a job that somebody outside was told of. */
export interface Telling {
  version: number;
  state: string;
  by: 'caller' | 'webhook';
}

/** What the host says of a job: when its command started and ended, in seconds; more than one start is too many. */
export interface HostRecord {
  starts: number[];
  ends: { at: number; code: number }[];
}

export type Ledger = ReturnType<typeof createLedger>;

/** @param dir where the commands' files are */
export function createLedger(dir: string) {
  const entries: Entry[] = [];
  const byId = new Map<string, Entry>();
  const tellings = new Map<string, Telling[]>();
  const over = new Set<string>();
  const wrong: string[] = [];
  let repeated = 0;
  let internalErrors = 0;

  return {
    entries,
    byId,
    tellings,
    /** What was found wrong while it ran, in one line each, the promise first: `promise: what`. */
    wrong,
    fileOf: (key: string) => join(dir, key),
    add(entry: Entry): void {
      entries.push(entry);
    },
    acknowledge(entry: Entry, id: string): void {
      if (entry.id !== null && entry.id !== id) {
        wrong.push(`nothing lost: key ${entry.key} stood for ${entry.id}, then for ${id}`);
      }
      entry.id = id;
      entry.acknowledgedAt ??= Date.now();
      byId.set(id, entry);
    },
    tell(id: string, telling: Telling): void {
      const told = tellings.get(id) ?? [];
      told.push(telling);
      tellings.set(id, told);
      if (isState(telling.state) && isOver(telling.state)) over.add(id);
    },
    /** The highest version that anybody was told. */
    latest: (id: string): number => Math.max(0, ...(tellings.get(id) ?? []).map(({ version }) => version)),
    /** Jobs that nobody has heard the end of. */
    underWay: () => byId.size - over.size,
    acknowledged: () => entries.filter((entry) => entry.id !== null),
    repeat: () => repeated++,
    repeated: () => repeated,
    internalError(text: string): void {
      internalErrors++;
      if (internalErrors <= 20) wrong.push(`no internal errors: ${text}`);
    },
    hostRecord(key: string): HostRecord {
      const record: HostRecord = { starts: [], ends: [] };
      for (const line of readLines(join(dir, key))) {
        const [what, at, code] = line.split(' ');
        if (what === 's') record.starts.push(Number(at));
        else if (what === 'e') record.ends.push({ at: Number(at), code: Number(code) });
      }
      return record;
    },
  };
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}
