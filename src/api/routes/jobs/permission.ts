/**
 * Whether a job may be accepted at all: what the key may do there, what the host allows, and what its agent is
 * known not to be able to do. What is not known yet is found out at the start, and never ignored there either.
 */
import { SluiceError } from '../../../job/errors.ts';
import type { AgentFacts, HostConfig } from '../../../job/host.ts';
import type { Capability } from '../../../protocol/agent.ts';
import { type ApiKey, hasScope, mayRunAs, mayUseHost } from '../../../store/api-keys.ts';
import type { Wishes } from './order.ts';
import type { SubmitBody } from './submit.schema.ts';

/** What of a host says who may use it. */
export type GrantedHost = Pick<HostConfig, 'name' | 'allowed_users'>;

/** @throws SluiceError forbidden with the field at fault */
export function checkGrants(caller: ApiKey, host: GrantedHost, user: string | null): void {
  if (!mayUseHost(caller, host.name)) {
    forbid('target_server', `the API key ${caller.name} may not use the host ${host.name}`);
  }
  const asWhom = user === null ? "as the agent's own user (job_user null)" : `as ${user}`;
  if (!mayRunAs(caller, user)) forbid('job_user', `the API key ${caller.name} may not run jobs ${asWhom}`);
  if (host.allowed_users && !host.allowed_users.includes(user)) {
    forbid('job_user', `the host ${host.name} allows no jobs ${asWhom}`);
  }
}

/** Whether the body asks for anything that not every agent can do. */
export function asksOfAgent(body: Wishes): boolean {
  return askedFor(body).length > 0 || typeof body.job_user === 'string';
}

/** @throws SluiceError field_unsupported_by_agent with the field at fault */
export function checkAgent(body: Wishes, host: HostConfig, agent: AgentFacts | null): void {
  if (!agent) return;
  for (const [field, capability] of askedFor(body)) {
    if (!canDo(agent, host.launcher, capability)) {
      throw unsupported(field, `the agent of ${host.name} does not support ${field}`);
    }
  }
  const user = body.job_user ?? null;
  if (user !== null && agent.users && !agent.users.includes(user)) {
    throw unsupported('job_user', `the agent of ${host.name} may not run commands as ${user}`);
  }
}

function askedFor(body: Wishes): [field: string, Capability][] {
  const asked: [string, Capability, boolean][] = [
    ['secret_env', 'secret_env', body.secret_env !== undefined],
    ['shell', 'shell', typeof body.shell === 'string'],
    ['workdir', 'workdir', typeof body.workdir === 'string'],
    ['leftovers', 'leftovers', body.leftovers === 'kill'],
    ['timeout_seconds', 'timeout', typeof body.timeout_seconds === 'number'],
    ['mode', 'tmux', body.mode === 'tmux'],
  ];
  return asked.flatMap(([field, capability, present]) => (present ? [[field, capability]] : []));
}

/** Base agents run tmux and take a timeout themselves; the rest is the launcher's, and secrets are nobody's. */
function canDo(agent: AgentFacts, launcher: boolean, capability: Capability): boolean {
  if (agent.kind === 'full') return agent.capabilities.includes(capability);
  if (capability === 'secret_env') return false;
  if (capability === 'tmux' || capability === 'timeout') return true;
  return launcher;
}

/**
 * A job is replaced by canceling it.
 * @throws SluiceError forbidden with the field at fault
 */
export function checkReplace(caller: ApiKey, { on_duplicate }: Pick<SubmitBody, 'on_duplicate'>): void {
  if (on_duplicate !== 'replace' || hasScope(caller, 'jobs:cancel')) return;
  forbid(
    'on_duplicate',
    `the API key ${caller.name} may not cancel jobs (jobs:cancel), so it may not replace one`,
  );
}

/** Nobody registered it, and a gateway carries no token to an address that a caller made up. */
export function targetUnknown(target: string): SluiceError {
  const detail = `${target} is no registered host, and no address pattern admits it`;
  return new SluiceError('target_unknown', detail, { fields: { field: 'target_server' } });
}

function forbid(field: string, detail: string): never {
  throw new SluiceError('forbidden', detail, { fields: { field } });
}

function unsupported(field: string, detail: string): SluiceError {
  return new SluiceError('field_unsupported_by_agent', detail, { fields: { field } });
}
