/** Lists of registered hosts, by name: walked in order, and filtered as they are read. */
import type { HostConfig } from '../../job/host.ts';
import { hasLabels } from '../../job/labels.ts';
import type { Keys } from '../keys.ts';
import type { Redis } from '../redis.ts';
import { hostIn } from './record.ts';

export interface HostPageOrder {
  size: number;
  /** The name that the page before ended with. */
  after?: string;
  /** Only hosts that have all of these. */
  labels?: Record<string, string>;
}

export interface HostPage {
  hosts: HostConfig[];
  /** The name to go on after; null at the end. A page may be short without being the last. */
  after: string | null;
}

const STEP = 500;
/** Records looked at for one page. */
const WALK = 10_000;

export async function list(redis: Redis, keys: Keys, order: HostPageOrder): Promise<HostPage> {
  const { size, labels = {} } = order;
  const hosts: HostConfig[] = [];
  let after = order.after;
  for (let walked = 0; walked < WALK; walked += STEP) {
    const from = after === undefined ? '-' : `(${after}`;
    const names = await redis.zrangebylex(keys.hosts, from, '+', 'LIMIT', 0, STEP);
    const texts = names.length > 0 ? await redis.mget(names.map((name) => keys.host(name))) : [];
    for (const [i, text] of texts.entries()) {
      after = names[i] as string;
      const host = text === null ? null : hostIn(text);
      if (host && hasLabels(host.labels, labels)) hosts.push(host);
      if (hosts.length === size) return { hosts, after };
    }
    if (names.length < STEP) return { hosts, after: null };
  }
  return { hosts, after: after ?? null };
}
