/** Who lives on a host: `POST /ping`, the clock it tells, and the certificate that it came with. */
import { Compile } from 'typebox/compile';
import type { AgentPort } from '../../job/agent-port.ts';
import type { AgentFacts } from '../../job/host.ts';
import { PingReply } from '../../protocol/agent.ts';
import type { Exchange } from './exchange.ts';
import { brief, invalid, readReply } from './reply.ts';

const PING_REPLY = Compile(PingReply);

/** Clocks without a zone are believed only so far: they may be local time. */
const ZONELESS_SKEW_MS = 15 * 60_000;

export function createPing(exchange: Exchange): AgentPort['ping'] {
  return async (host) => {
    const before = Date.now();
    const reply = await exchange.send(host, {
      what: 'ping',
      method: 'POST',
      path: '/ping',
      maxBytes: 65_536,
    });
    const after = Date.now();
    const said = readReply(reply.body, PING_REPLY);
    if (said.status !== 'ok') throw invalid('its status is not ok');
    return { facts: factsOf(said, (before + after) / 2, after), fingerprint: reply.fingerprint };
  };
}

function factsOf(said: PingReply, askedAt: number, now: number): AgentFacts {
  const full = said.capabilities !== undefined;
  return {
    kind: full ? 'full' : 'base',
    protocol: full ? (said.protocol ?? null) : null,
    version: short(said.version),
    capabilities: (said.capabilities ?? []).slice(0, 100).map((word) => brief(word, 64)),
    boot_id: short(said.boot_id),
    store_id: short(said.store_id),
    users: said.users?.slice(0, 10_000).map((user) => brief(user, 64)) ?? null,
    clock_skew_ms: skewOf(said.time, askedAt),
    at: now,
  };
}

const short = (text: string | undefined) => (text === undefined ? null : brief(text, 128));

/** The host's clock minus ours at the middle of the round trip; 0 where it cannot be told. */
function skewOf(time: string | undefined, askedAt: number): number {
  if (!time) return 0;
  const zoned = /(Z|[+-]\d\d:?\d\d)$/i.test(time);
  const skew = Math.round(Date.parse(zoned ? time : `${time}Z`) - askedAt);
  if (Number.isNaN(skew) || (!zoned && Math.abs(skew) > ZONELESS_SKEW_MS)) return 0;
  return skew;
}
