/** A host as callers see it: its settings and what is known of it; never its token, sealed or not. */
import Type, { type Static } from 'typebox';
import { CIRCUITS, type Circuit, causeOf, circuitOf } from '../../../job/circuit.ts';
import type { HostConfig, HostHealth } from '../../../job/host.ts';
import { HOST_STATUSES } from '../../../job/host.ts';
import { timestamp } from '../../../protocol/job-view.ts';
import { rateInForce, rateView } from './rate.ts';
import { TlsView } from './tls.ts';

const text = (description: string) => Type.Unsafe<string | null>({ type: ['string', 'null'], description });
const number = (description: string) =>
  Type.Unsafe<number | null>({ type: ['integer', 'null'], description });

const AgentView = Type.Object(
  {
    kind: Type.String({ description: '`full` or `base`.' }),
    protocol: number('The protocol that a Full agent speaks.'),
    version: text("The agent's version, where it says one."),
    capabilities: Type.Array(Type.String(), { description: 'What a Full agent can be asked for.' }),
    users: Type.Unsafe<string[] | null>({
      type: ['array', 'null'],
      items: { type: 'string' },
      description: 'Whom it may run commands as; null: everybody, or not said.',
    }),
    clock_skew_ms: Type.Integer({ description: "The host's clock minus the gateway's, in ms." }),
    seen_at: text('When it said so. RFC 3339, UTC.'),
  },
  { description: 'What the agent last said of itself.' },
);

export const HostView = Type.Object({
  name: Type.String({ description: "The host's name." }),
  address: Type.String({ description: '`host:port` of its agent.' }),
  tls: TlsView,
  max_requests: Type.Integer({ description: 'Simultaneous requests to the agent.' }),
  max_jobs: number('Jobs that it is starting, running or ending at once; null: no limit.'),
  rate: rateView("Requests to its agent in a time, as it was set; null: by the agent's kind."),
  rate_in_force: rateView("The rate that holds now, set or by the agent's kind; null: no limit."),
  labels: Type.Record(Type.String(), Type.String(), { description: 'For selectors and people.' }),
  allowed_users: Type.Unsafe<(string | null)[] | null>({
    type: ['array', 'null'],
    items: { type: ['string', 'null'] },
    description: "Users that jobs may run as; null: all. A null inside is the agent's own user.",
  }),
  launcher: Type.Boolean({ description: 'Base agents: commands are sent through the launcher.' }),
  status: Type.Unsafe<HostHealth['status'] | 'draining'>({
    type: 'string',
    enum: [...HOST_STATUSES, 'draining'],
    description: '`unknown` until it was first asked.',
  }),
  cause: text('What is wrong.'),
  remedy: text('What to do about it.'),
  circuit: Type.Object(
    {
      state: Type.Unsafe<Circuit>({
        type: 'string',
        enum: [...CIRCUITS],
        description:
          '`closed`: its limits hold; `paused`: it has asked for a pause (429, 503) until `retry_at`, or takes no new ' +
          'job until `no_starts_until`; `probation`: one request at a time; `open`: none until `retry_at`.',
      }),
      failures: Type.Integer({ description: 'Failed requests in a row.' }),
      retry_at: text('Nothing is asked of it before then, but for one try. RFC 3339, UTC.'),
      no_starts_until: text(
        'Nothing new is started there before then: its agent refused a start and asked to wait. RFC 3339, UTC.',
      ),
      silent_since: text('Since when it has not answered. RFC 3339, UTC.'),
    },
    { description: 'How failures hold requests back.' },
  ),
  pinned_fingerprint: text('sha256 of the certificate that was pinned on first use, hex.'),
  jobs: Type.Object({
    queued: Type.Integer({ description: 'Jobs that wait for this host.' }),
    running: Type.Integer({
      description: 'Jobs that count for `max_jobs`: `dispatching`, `running`, `unreachable` or `canceling`.',
    }),
  }),
  agent: Type.Unsafe<Static<typeof AgentView> | null>({ anyOf: [AgentView, { type: 'null' }] }),
  last_contact_at: text('When it last answered. RFC 3339, UTC.'),
  warnings: Type.Array(Type.String(), { description: 'What should not stay so.' }),
});
export type HostView = Static<typeof HostView>;

export function hostView(
  host: HostConfig,
  health: HostHealth,
  jobs: { queued: number; active: number },
): HostView {
  return {
    name: host.name,
    address: host.address,
    tls: host.tls,
    max_requests: host.max_requests,
    max_jobs: host.max_jobs,
    rate: host.rate,
    rate_in_force: rateInForce(host, health),
    labels: host.labels,
    allowed_users: host.allowed_users,
    launcher: host.launcher,
    status: health.draining ? 'draining' : health.status,
    cause: causeOf(health),
    remedy: health.remedy,
    circuit: {
      state: circuitOf(health),
      failures: health.failures,
      retry_at: timestamp(health.retry_at),
      no_starts_until: timestamp(health.no_starts_until),
      silent_since: timestamp(health.silent_since),
    },
    pinned_fingerprint: health.pinned_fingerprint,
    jobs: { queued: jobs.queued, running: jobs.active },
    agent: health.agent && agentView(health.agent),
    last_contact_at: timestamp(health.last_contact_at),
    warnings: [...health.warnings, ...warningsOf(host)],
  };
}

function agentView(agent: NonNullable<HostHealth['agent']>): Static<typeof AgentView> {
  const { kind, protocol, version, capabilities, users, clock_skew_ms, at } = agent;
  return { kind, protocol, version, capabilities, users, clock_skew_ms, seen_at: timestamp(at) };
}

/** What follows from the settings alone. */
function warningsOf({ tls, launcher }: HostConfig): string[] {
  const warnings: string[] = [];
  if ('insecure' in tls)
    warnings.push('the certificate is not checked: whoever answers there gets the token');
  if ('dangerously_off' in tls) warnings.push('plain HTTP: the token and the commands can be read');
  if (!launcher) warnings.push('without the launcher a Base agent may start a command twice or lose its end');
  return warnings;
}
