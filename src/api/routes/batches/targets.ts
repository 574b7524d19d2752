/**
 * Which hosts a batch is for: names unfolded, selectors settled, exclusions taken out, each address once. A name that is
 * not known or may not be used refuses the whole batch, and every one of them is named.
 */
import type { BatchTarget } from '../../../job/batch.ts';
import { SluiceError } from '../../../job/errors.ts';
import type { HostConfig } from '../../../job/host.ts';
import { fold, HostNamesError, unfold } from '../../../job/host-names.ts';
import { type ApiKey, mayUseHost } from '../../../store/api-keys.ts';
import type { HostStore } from '../../../store/hosts.ts';
import { asksOfAgent, checkAgent, checkGrants, type GrantedHost } from '../jobs/permission.ts';
import { type BatchBody, MOST_TARGETS } from './submit.schema.ts';

const PAGE = 500;

export interface TargetDeps {
  hosts: Pick<HostStore, 'resolveMany' | 'list' | 'agentsOf'>;
}

/** @throws SluiceError invalid_request, target_unknown, forbidden or field_unsupported_by_agent with the field at fault */
export async function settleTargets(
  { hosts }: TargetDeps,
  body: BatchBody,
  caller: ApiKey,
): Promise<BatchTarget[]> {
  const { targets, selector, exclude } = body;
  if (targets === undefined && selector === undefined) {
    throw fault('invalid_request', 'targets', 'say which hosts: targets or selector');
  }
  const found = new Map<string, { config: HostConfig; target_server: string }>();
  for (const { name, config } of await known('targets', targets)) {
    if (!found.has(config.name)) found.set(config.name, { config, target_server: name });
  }
  for (const config of selector === undefined ? [] : await selected(selector)) {
    if (!found.has(config.name)) found.set(config.name, { config, target_server: config.name });
  }
  for (const { config } of await known('exclude', exclude)) found.delete(config.name);
  const chosen = [...found.values()];
  if (chosen.length === 0) {
    throw fault('invalid_request', targets ? 'targets' : 'selector', 'there is no such host');
  }
  if (chosen.length > MOST_TARGETS) {
    throw fault(
      'invalid_request',
      'targets',
      `${chosen.length} hosts; a batch is for at most ${MOST_TARGETS}`,
    );
  }
  refuseForbidden(
    chosen.map(({ config }) => config),
    body.job_user ?? null,
    caller,
  );
  await refuseUnable(chosen.map(({ config }) => config));
  return chosen.map(({ config, target_server }) => ({ host: config.name, target_server }));

  async function known(field: 'targets' | 'exclude', texts: string[] | undefined) {
    const names = texts === undefined ? [] : namesIn(field, texts);
    const configs = await hosts.resolveMany(names);
    const unknown = names.filter((_, i) => configs[i] === null);
    if (unknown.length > 0) {
      const detail = `${fold(unknown)} ${unknown.length === 1 ? 'is' : 'are'} not registered, and no address pattern admits ${unknown.length === 1 ? 'it' : 'them'}`;
      throw fault('target_unknown', field, detail, { unknown: fold(unknown), count: unknown.length });
    }
    return names.map((name, i) => ({ name, config: configs[i] as HostConfig }));
  }

  async function selected(labels: Record<string, string> | 'all'): Promise<HostConfig[]> {
    const all: HostConfig[] = [];
    let after: string | null = null;
    do {
      const wanted = labels === 'all' ? {} : { labels };
      const page = await hosts.list({ size: PAGE, ...wanted, ...(after !== null && { after }) });
      all.push(...page.hosts.filter(({ name }) => mayUseHost(caller, name)));
      after = page.after;
    } while (after !== null);
    return all;
  }

  async function refuseUnable(configs: HostConfig[]): Promise<void> {
    if (!asksOfAgent(body)) return;
    const agents = await hosts.agentsOf(configs.map(({ name }) => name));
    const refusals = refusalsOf(configs, (config, i) => checkAgent(body, config, agents[i] ?? null));
    refuse(refusals, 'field_unsupported_by_agent', 'targets');
  }
}

/**
 * Hosts that were settled before: still there, and still the caller's to use.
 * @throws SluiceError as `settleTargets`
 */
export async function checkTargetsAgain(
  { hosts }: TargetDeps,
  targets: readonly BatchTarget[],
  user: string | null,
  caller: ApiKey,
): Promise<void> {
  const configs = await hosts.resolveMany(targets.map(({ host }) => host));
  const gone = targets.flatMap(({ host }, i) => (configs[i] ? [] : [host]));
  if (gone.length > 0) {
    throw fault('target_unknown', 'scope', `${fold(gone)}: not registered any more`, { unknown: fold(gone) });
  }
  refuseForbidden(
    configs.filter((config) => config !== null),
    user,
    caller,
  );
}

/**
 * Hosts that were settled before are still the caller's to use. One that is not registered any more is no reason to
 * refuse the others: nothing starts there.
 * @throws SluiceError forbidden
 */
export async function checkGrantsAgain(
  { hosts }: TargetDeps,
  targets: readonly BatchTarget[],
  user: string | null,
  caller: ApiKey,
): Promise<void> {
  const configs = await hosts.resolveMany(targets.map(({ host }) => host));
  // Its name is checked all the same: it may be registered again.
  const named = targets.map(({ host }, i) => configs[i] ?? { name: host, allowed_users: null });
  refuseForbidden(named, user, caller);
}

function namesIn(field: string, texts: string[]): string[] {
  try {
    return unfold(texts, MOST_TARGETS);
  } catch (error) {
    if (!(error instanceof HostNamesError)) throw error;
    throw fault('invalid_request', field, error.message);
  }
}

interface Refusal {
  name: string;
  error: SluiceError;
}

function refuseForbidden(hosts: readonly GrantedHost[], user: string | null, caller: ApiKey): void {
  const refusals = refusalsOf(hosts, (host) => checkGrants(caller, host, user));
  refuse(refusals, 'forbidden', 'targets');
}

function refusalsOf<Host extends { name: string }>(
  configs: readonly Host[],
  check: (config: Host, i: number) => void,
): Refusal[] {
  return configs.flatMap((config, i) => {
    try {
      check(config, i);
      return [];
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      return [{ name: config.name, error }];
    }
  });
}

function refuse(refusals: Refusal[], code: 'forbidden' | 'field_unsupported_by_agent', field: string): void {
  const [first] = refusals;
  if (!first) return;
  const names = fold(refusals.map(({ name }) => name));
  const others = refusals.length === 1 ? '' : `; refused for ${refusals.length} hosts: ${names}`;
  throw fault(
    code,
    (first.error.fields.field as string | undefined) ?? field,
    `${first.error.message}${others}`,
    {
      refused: names,
      count: refusals.length,
    },
  );
}

function fault(
  code: 'invalid_request' | 'target_unknown' | 'forbidden' | 'field_unsupported_by_agent',
  field: string,
  detail: string,
  more: Record<string, unknown> = {},
): SluiceError {
  return new SluiceError(code, detail, { fields: { field, ...more } });
}
