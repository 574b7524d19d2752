/**
 * `POST /run` to a Base agent of any generation: the fields of the later ones are sent to all, because the first
 * ignores what it does not know. Never `sync`: the first generation would answer nobody until the command ends.
 */
import Type from 'typebox';
import { Compile } from 'typebox/compile';
import type { DialHost } from '../../job/agent-port.ts';
import type { RunRequest } from '../../protocol/agent.ts';
import type { Exchange } from './exchange.ts';
import { invalid } from './reply.ts';

const RUN_REPLY = Compile(
  Type.Object({
    status: Type.String(),
    job_id: Type.Optional(Type.String()),
    active_job_id: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  }),
);

/** What can be a part of a path; the agents' own ids are UUIDs or what the caller chose. */
const AGENT_JOB_ID = /^(?!\.+$)[A-Za-z0-9_.:-]{1,200}$/;

export interface BaseRun {
  /** The id to use where the agent takes one. */
  id: string;
  command: string;
  user: string | null;
  tmux: boolean;
  env?: Record<string, string>;
  timeoutSeconds?: number | null;
  fresh?: boolean;
}

/** @returns the agent's id of the job; `existing` where a session of this id was alive and nothing was started */
export async function baseRun(
  exchange: Exchange,
  host: DialHost,
  run: BaseRun,
): Promise<{ agent_job_id: string; existing: boolean }> {
  const body: RunRequest = {
    job_type: 'shell',
    command: run.command,
    run_as_user: run.user,
    sync: false,
    use_tmux: run.tmux,
    env: run.env ?? {},
    timeout_seconds: run.timeoutSeconds ?? null,
    job_id: run.id,
    skip_if_running: true,
    dedup_key: run.id,
    fire_and_forget: true,
  };
  const reply = await exchange.ask(
    host,
    { what: 'run', method: 'POST', path: '/run', body, maxBytes: 65_536, fresh: run.fresh ?? false },
    RUN_REPLY,
  );
  const id = reply.active_job_id ?? reply.job_id ?? run.id;
  if (!AGENT_JOB_ID.test(id)) throw invalid('its job id cannot be asked about');
  return { agent_job_id: id, existing: reply.status.trim() === 'already_running' };
}
