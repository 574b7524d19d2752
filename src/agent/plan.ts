/**
 * Decides how a request would be run on this host, or why it may not be: whose it is, which shell, where, in what.
 * Nothing is written here. What can only be known as the user itself (a directory on a share that root may not
 * enter) is found out at the start, and ends the job as `spawn_error`.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, mkdir } from 'node:fs/promises';
import { basename, isAbsolute, join } from 'node:path';
import type { RunRequest } from '../protocol/agent.ts';
import type { Abilities } from './abilities.ts';
import { type Account, findAccount, ownAccount } from './accounts.ts';
import { type JobPlan, requestHash, type SessionKind, secretsText } from './job-files.ts';
import { lookAt } from './look.ts';
import type { Policy } from './policy.ts';
import { Refusal } from './refusal.ts';

/** Shells that read a profile as `su -` expects; another one runs the command but not the login. */
const LOGIN_SHELLS = ['sh', 'bash', 'dash', 'ksh', 'mksh', 'zsh', 'ash'];

/** sh refuses to set these, or to anything but a number, and would end before the command. */
const READ_ONLY_NAMES = ['OPTIND', 'UID', 'EUID', 'PPID', 'SHELLOPTS', 'BASHOPTS', 'BASH_VERSINFO'];

/** All of it passes through a pipe that may not block. */
const MAX_SECRET_BYTES = 32 * 1024;

/** The inner process's own variables: one that a request sets would be taken for its. */
const INNER_NAMES = /^sluice_/;

/** It is kept in memory for as long as the token is known. */
const MAX_KEY_BYTES = 256;

export interface PlanDeps {
  abilities: Abilities;
  policy: Policy;
  storeId: string;
  bootId: string;
  runDir: string;
}

export type Planner = (id: string, request: RunRequest) => Promise<JobPlan>;

export function createPlanner(deps: PlanDeps): Planner {
  const self = ownAccount();

  return async (id, request) => {
    checkTexts(request);
    const { account, session } = await decideUser(request.run_as_user ?? null);
    const shell = await decideShell(request.shell ?? null);
    if (request.workdir) await checkWorkdir(request.workdir);
    const socket = request.use_tmux ? await tmuxSocket(id, account) : null;
    return {
      record: {
        job_id: id,
        accepted_at: new Date().toISOString(),
        boot_id: deps.bootId,
        request_hash: requestHash(request),
        user: account.name,
        timeout_seconds: request.timeout_seconds ?? null,
        has_secrets: Object.keys(request.secret_env ?? {}).length > 0,
        dedup_key: request.dedup_key ?? null,
        socket,
        attach_command: socket && attachCommand(socket, account),
        tombstone: false,
      },
      request,
      account,
      session,
      shell,
      loginShell: LOGIN_SHELLS.includes(basename(shell)) ? shell : deps.abilities.defaultShell,
      cgroup: deps.abilities.cgroup && join(deps.abilities.cgroup, `job-${id}`),
      tmux: deps.abilities.tmux,
    };
  };

  async function decideUser(name: string | null): Promise<{ account: Account; session: SessionKind }> {
    if (deps.policy.users && !deps.policy.users.includes(name ?? self.name)) {
      throw new Refusal(
        422,
        'user_not_allowed',
        `this host's policy does not let commands run as ${name ?? self.name}`,
      );
    }
    if (name === null) return { account: self, session: 'own' };
    const account = await findAccount(name);
    if (!account) throw new Refusal(422, 'user_unknown', `this host has no user ${name}`);
    if (deps.abilities.isRoot) return { account, session: 'su' };
    if (account.uid === self.uid) return { account, session: 'login' };
    throw new Refusal(
      422,
      'user_not_allowed',
      `this agent is not root and can only run commands as ${self.name}`,
    );
  }

  async function decideShell(shell: string | null): Promise<string> {
    if (shell === null) return deps.abilities.defaultShell;
    const found = isAbsolute(shell) ? await lookAt(shell) : 'nothing';
    if (found === 'program' || found === 'unknown') return shell;
    throw new Refusal(
      422,
      'mode_unsupported',
      `this host has no shell ${shell}: an absolute path of a program is needed`,
    );
  }

  async function tmuxSocket(id: string, account: Account): Promise<string> {
    if (!deps.abilities.tmux)
      throw new Refusal(422, 'mode_unsupported', 'this host has no tmux (2.6 or later)');
    const directory = join(deps.runDir, String(account.uid));
    const socket = join(
      directory,
      createHash('sha256').update(`${deps.storeId}/${id}`).digest('hex').slice(0, 16),
    );
    if (Buffer.byteLength(socket) > 100) {
      throw new Refusal(
        422,
        'mode_unsupported',
        'the path of the data directory is too long for the socket of tmux',
      );
    }
    // Its parent is the agent's own, so this is no link of somebody's. An agent that died in between left it half made.
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chown(directory, account.uid, account.gid);
    return socket;
  }

  function attachCommand(socket: string, account: Account): string {
    const attach = `tmux -S ${socket} attach -t job`;
    if (account.uid === self.uid) return attach;
    return existsSync('/usr/bin/sudo')
      ? `sudo -u ${account.name} ${attach}`
      : `runuser -u ${account.name} -- ${attach}`;
  }
}

/** What no file and no environment can hold, or what sh itself would stumble over. */
function checkTexts(request: RunRequest): void {
  const env = { ...request.env, ...request.secret_env };
  for (const text of [request.command, request.workdir, request.shell, ...Object.values(env)]) {
    if (text?.includes('\0')) throw new Refusal(422, 'invalid_request', 'a text holds a NUL');
  }
  const isTaken = (name: string) => READ_ONLY_NAMES.includes(name) || INNER_NAMES.test(name);
  const readOnly = Object.keys(env).find(isTaken);
  if (readOnly) throw new Refusal(422, 'invalid_request', `env cannot set ${readOnly}`);
  if (Buffer.byteLength(request.dedup_key ?? '') > MAX_KEY_BYTES) {
    throw new Refusal(422, 'invalid_request', `dedup_key is larger than ${MAX_KEY_BYTES} bytes`);
  }
  const secretBytes = Buffer.byteLength(secretsText(request.secret_env ?? {}));
  if (secretBytes > MAX_SECRET_BYTES) {
    throw new Refusal(422, 'invalid_request', `secret_env is larger than ${MAX_SECRET_BYTES} bytes`);
  }
}

async function checkWorkdir(workdir: string): Promise<void> {
  if (!isAbsolute(workdir)) throw new Refusal(422, 'workdir', 'workdir must be an absolute path');
  const found = await lookAt(workdir);
  if (found === 'directory' || found === 'unknown') return;
  throw new Refusal(422, 'workdir', `${workdir} is not a directory on this host`);
}
