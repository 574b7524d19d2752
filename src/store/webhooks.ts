/**
 * Webhook endpoints: who wants to hear of which jobs and batches. Secrets are sealed; a rotated secret signs for a day more
 * beside its successor.
 *
 * An endpoint hears of nothing that its owner may not see: of the owner's own, or of all where an `admin` key
 * made it. Changes are compare-and-set on the whole text, so that a rotation and a `410` do not undo each other.
 */
import { ulid } from 'ulid';
import { hasLabels } from '../job/labels.ts';
import { createWebhookSecret, DEFAULT_EVENTS, type EventType } from '../protocol/webhook.ts';
import type { Keys } from './keys.ts';
import { defineScript } from './redis/script.ts';
import type { Redis } from './redis.ts';
import type { Sealer } from './sealing.ts';

export interface Endpoint {
  /** `whk_` and a ULID. */
  id: string;
  url: string;
  events: EventType[];
  /** Only jobs and batches that carry all of these. */
  labels: Record<string, string>;
  /** The name of the API key that made it. */
  created_by: string;
  /** Made by an admin: hears of everybody's jobs and batches. */
  all_jobs: boolean;
  sealed_secret: string;
  /** Rotated secrets, newest first; each signs until its time. */
  retired: { sealed_secret: string; valid_until: number }[];
  disabled_at: number | null;
  disabled_reason: string | null;
  created_at: number;
  updated_at: number;
}

export interface EndpointPatch {
  url?: string;
  events?: EventType[];
  labels?: Record<string, string>;
  /** False: heard again from here on. */
  disabled?: boolean;
}

export interface EndpointStore {
  /** @returns the endpoint, and its secret, shown here only */
  create(
    fields: { url: string; events?: EventType[]; labels?: Record<string, string> },
    owner: { name: string; admin: boolean },
  ): Promise<{ endpoint: Endpoint; secret: string }>;
  get(id: string): Promise<Endpoint | null>;
  /** Oldest first. */
  list(): Promise<Endpoint[]>;
  patch(id: string, patch: EndpointPatch): Promise<Endpoint | null>;
  rotateSecret(id: string): Promise<{ endpoint: Endpoint; secret: string } | null>;
  disable(id: string, reason: string): Promise<void>;
  remove(id: string): Promise<boolean>;
  /** All secrets that sign now, the newest first. */
  secrets(endpoint: Endpoint): string[];
}

/** How long a rotated secret still signs. */
export const RETIRED_MS = 24 * 3_600_000;
/** Signatures in one header at most. */
const MAX_RETIRED = 4;

/** KEYS 1 endpoint ARGV 1 the text that was read 2 the new one. Returns 1, or 0 if it has changed meanwhile. */
const replaceScript = defineScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
`);

export function createEndpointStore(deps: {
  redis: Redis;
  keys: Keys;
  sealer: Pick<Sealer, 'seal' | 'open'>;
  /** Default: the process's clock. */
  now?: () => number;
}): EndpointStore {
  const { redis, keys, sealer, now = Date.now } = deps;
  const place = (id: string) => `webhook:${id}`;

  return {
    async create({ url, events = [...DEFAULT_EVENTS], labels = {} }, owner) {
      const id = `whk_${ulid()}`;
      const secret = createWebhookSecret();
      const at = now();
      const endpoint: Endpoint = {
        id,
        url,
        events,
        labels,
        created_by: owner.name,
        all_jobs: owner.admin,
        sealed_secret: sealer.seal(secret, place(id)),
        retired: [],
        disabled_at: null,
        disabled_reason: null,
        created_at: at,
        updated_at: at,
      };
      // In one transaction: jobs put changes into the outbox only while the set of endpoints exists.
      await redis
        .multi()
        .set(keys.endpoint(id), JSON.stringify(endpoint))
        .zadd(keys.endpoints, at, id)
        .exec();
      return { endpoint, secret };
    },
    get,
    async list() {
      const ids = await redis.zrange(keys.endpoints, 0, '-1');
      if (ids.length === 0) return [];
      const texts = await redis.mget(ids.map((id) => keys.endpoint(id)));
      return texts.flatMap((text) => (text === null ? [] : [JSON.parse(text) as Endpoint]));
    },
    patch(id, { disabled, ...fields }) {
      return change(id, (endpoint) => ({
        ...endpoint,
        ...fields,
        ...(disabled === true && endpoint.disabled_at === null && disabledBecause('disabled by its owner')),
        ...(disabled === false && { disabled_at: null, disabled_reason: null }),
      }));
    },
    async rotateSecret(id) {
      const secret = createWebhookSecret();
      const endpoint = await change(id, (before) => ({
        ...before,
        sealed_secret: sealer.seal(secret, place(id)),
        retired: [
          { sealed_secret: before.sealed_secret, valid_until: now() + RETIRED_MS },
          ...before.retired.filter(({ valid_until }) => valid_until > now()),
        ].slice(0, MAX_RETIRED),
      }));
      return endpoint && { endpoint, secret };
    },
    async disable(id, reason) {
      await change(id, (endpoint) => ({ ...endpoint, ...disabledBecause(reason) }));
    },
    async remove(id) {
      const replies = await redis.multi().del(keys.endpoint(id)).zrem(keys.endpoints, id).exec();
      return replies?.[0]?.[1] === 1;
    },
    secrets(endpoint) {
      const retired = endpoint.retired.filter(({ valid_until }) => valid_until > now());
      return [endpoint, ...retired].map(({ sealed_secret }) =>
        sealer.open(sealed_secret, place(endpoint.id)),
      );
    },
  };

  async function get(id: string): Promise<Endpoint | null> {
    const text = await redis.get(keys.endpoint(id));
    return text === null ? null : (JSON.parse(text) as Endpoint);
  }

  /** Repeats until nobody else has changed it between reading and writing. */
  async function change(id: string, next: (before: Endpoint) => Endpoint): Promise<Endpoint | null> {
    for (;;) {
      const text = await redis.get(keys.endpoint(id));
      if (text === null) return null;
      const after = { ...next(JSON.parse(text) as Endpoint), updated_at: now() };
      if ((await replaceScript(redis, [keys.endpoint(id)], [text, JSON.stringify(after)])) === 1)
        return after;
    }
  }

  function disabledBecause(reason: string) {
    return { disabled_at: now(), disabled_reason: reason };
  }
}

/** What an endpoint goes by, of a job or batch. */
export interface Heard {
  labels: Record<string, string>;
  created_by: string;
}

/** Whether the endpoint wants this event of this one, and its owner may see it. */
export function hears(endpoint: Endpoint, type: EventType, { labels, created_by }: Heard): boolean {
  return (
    endpoint.disabled_at === null &&
    (endpoint.all_jobs || endpoint.created_by === created_by) &&
    endpoint.events.includes(type) &&
    hasLabels(labels, endpoint.labels)
  );
}
