/**
 * What an accepted job looks like on disk: the agent's own record, the supervisor's spec, the user's command and
 * environment. The only place where values of a request are written into shell text, all of them quoted.
 */
import { createHash } from 'node:crypto';
import { ENV_NAME, type RunRequest } from '../protocol/agent.ts';
import type { Account } from './accounts.ts';
import type { SpoolFile } from './spool.ts';

/** `job.json`. It holds no environment and no command: those are in the user's own two files. */
export interface JobRecord {
  job_id: string;
  accepted_at: string;
  boot_id: string;
  /** Of everything that makes it the same command; secrets are not part of it. */
  request_hash: string;
  user: string;
  timeout_seconds: number | null;
  has_secrets: boolean;
  dedup_key: string | null;
  /** tmux's socket, where the job runs in tmux. */
  socket: string | null;
  attach_command: string | null;
  /** A cancel came before the start: nothing was ever run, nothing ever will be. */
  tombstone: boolean;
}

/** How the command's session is opened: through `su -`, as a login of the agent's own user, or plainly as it. */
export type SessionKind = 'su' | 'login' | 'own';

/** Everything decided about a job before it is accepted. */
export interface JobPlan {
  record: JobRecord;
  request: RunRequest;
  account: Account;
  session: SessionKind;
  shell: string;
  /** The shell that reads the profile. */
  loginShell: string;
  cgroup: string | null;
  tmux: string | null;
}

export interface SpecContext {
  storeId: string;
  scripts: string;
  nudges: string;
}

/** What the supervisor writes over on the last day of a full disk. */
const ROOM_FOR_EXIT = '\n'.repeat(512);

export function jobFiles(plan: JobPlan, context: SpecContext): SpoolFile[] {
  const { record, request, account } = plan;
  const owner = { uid: account.uid, gid: account.gid };
  const files: SpoolFile[] = [
    { path: 'job.json', content: JSON.stringify(record), mode: 0o600 },
    { path: 'spec', content: spec(plan, context), mode: 0o600 },
    { path: 'in/cmd', content: `${request.command}\n`, mode: 0o400, owner },
    { path: 'in/env', content: environment(plan, context), mode: 0o400, owner },
    { path: 'out.log', content: '', mode: 0o600 },
    { path: 'err.log', content: '', mode: 0o600 },
    { path: 'exit.new', content: ROOM_FOR_EXIT, mode: 0o600 },
  ];
  if (record.has_secrets) files.push({ path: 'in/secrets', content: '', mode: 0o444 });
  if (record.socket !== null) files.push({ path: 'in/pane', content: '', mode: 0o444 });
  return files;
}

/** Set by the agent alone: a sweep finds a job's processes by them. */
const OWN_NAMES = ['SLUICE_JOB_ID', 'SLUICE_JOB_MARK'];

/** What goes through the gate after the start was allowed, from memory to memory. */
export function secretsText(secrets: Record<string, string>): string {
  const others = Object.entries(secrets).filter(([name]) => !OWN_NAMES.includes(name));
  return `${exports(Object.fromEntries(others))}#end\n`;
}

/** Equal requests have equal hashes, whatever the order of their keys. */
export function requestHash(request: RunRequest): string {
  const env = Object.entries(request.env ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const secretNames = Object.keys(request.secret_env ?? {}).sort();
  const identity = [
    request.command,
    request.run_as_user ?? null,
    request.use_tmux ?? false,
    request.shell ?? null,
    request.workdir ?? null,
    env,
    secretNames,
  ];
  return createHash('sha256').update(JSON.stringify(identity)).digest('hex');
}

function spec(plan: JobPlan, context: SpecContext): string {
  const { record, request, account } = plan;
  return assignments({
    id: record.job_id,
    mark: markOf(record, context),
    user: account.name,
    uid: String(account.uid),
    home: account.home,
    session: plan.session,
    login_shell: plan.loginShell,
    boot: record.boot_id,
    timeout: String(record.timeout_seconds ?? 0),
    mode: record.socket === null ? 'plain' : 'tmux',
    socket: record.socket ?? '',
    tmux: plan.tmux ?? '',
    leftovers: request.leftovers ?? 'keep',
    cgroup: plan.cgroup ?? '',
    nudges: context.nudges,
    inner: `${context.scripts}/inner.sh`,
  });
}

function environment(plan: JobPlan, context: SpecContext): string {
  const { record, request } = plan;
  return (
    assignments({ sluice_shell: plan.shell, sluice_workdir: request.workdir ?? '' }) +
    exports({
      ...request.env,
      SLUICE_JOB_ID: record.job_id,
      SLUICE_JOB_MARK: markOf(record, context),
    })
  );
}

/** Two agents on one host may have jobs of the same id; a sweep must tell them apart. */
const markOf = (record: JobRecord, context: SpecContext) => `${context.storeId}/${record.job_id}`;

const assignments = (values: Record<string, string>) =>
  Object.entries(values)
    .map(([name, value]) => `${name}=${quote(value)}\n`)
    .join('');

/** A name cannot be quoted: one that is not a name never gets as far as a file. */
function exports(values: Record<string, string>): string {
  const odd = Object.keys(values).find((name) => !ENV_NAME.test(name));
  if (odd !== undefined) throw new Error(`${odd} is not the name of an environment variable`);
  return Object.entries(values)
    .map(([name, value]) => `export ${name}=${quote(value)}\n`)
    .join('');
}

/** Between single quotes a shell changes nothing; a quote itself ends them, is escaped, and begins them again. */
const quote = (value: string) => `'${value.replaceAll("'", "'\\''")}'`;
