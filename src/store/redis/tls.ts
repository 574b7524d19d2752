/** How TLS is spoken to Redis and its Sentinels: whom we trust, and what we show. */
import type { ConnectionOptions } from 'node:tls';

/** Contents of PEM files; without `ca` the authorities that Node trusts count. */
export type Certificates = Readonly<{ ca?: string; cert?: string; key?: string }>;

/** Verification is asked for once more, because NODE_TLS_REJECT_UNAUTHORIZED=0 would turn it off. */
export function verified(certificates: Certificates): ConnectionOptions {
  return { ...certificates, rejectUnauthorized: true };
}
