/**
 * The requests of the Base protocol as one generation answers them: ids, tokens, counting, the blacklist, and the
 * whole agent standing still while generation A runs a `sync` command. Used by `base-agent.ts` only.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { type Answer, type GenerationRules, json } from './base-agent.generations.ts';
import type { JobRunner } from './base-agent.jobs.ts';

interface RunBody {
  command: string;
  run_as_user?: string | null;
  sync?: boolean;
  use_tmux?: boolean;
  env?: Record<string, string>;
  job_id?: string;
  skip_if_running?: boolean;
  dedup_key?: string;
}

export function createBaseProtocol(
  rules: GenerationRules,
  jobs: JobRunner,
  options: {
    token: string;
    rate: { limit: number; periodMs: number; counts: 'run' | 'all' } | null;
    blacklist: string[];
    newest: boolean;
  },
) {
  const { rate } = options;
  const tmuxJobs = new Set<string>();
  const dedup = new Map<string, string>();
  const commands: string[] = [];
  let recent: number[] = [];
  let tokenRefused = false;
  /** Generation A answers nobody while a `sync` command runs. */
  let busy: Promise<unknown> = Promise.resolve();

  async function answer(path: string, request: IncomingMessage, url: URL): Promise<Answer> {
    await busy;
    const refusal = rules.wrongToken ?? (tokenRefused ? json({ error: 'invalid_token' }, 403) : null);
    if (refusal && (tokenRefused || request.headers['x-agent-token'] !== options.token)) return refusal;
    if (rate && overRate(path)) return json({ error: 'rate_limited' }, 429);
    const id = decodeURIComponent(url.pathname.split('/')[2] ?? '');
    if (path === '/ping') return json({ status: 'ok', time: new Date().toISOString() });
    if (path === '/run') return startJob(await text(request));
    if (path === '/status') return rules.statusOf(id, await jobs.files(id));
    if (path === '/cancel') {
      await jobs.cancel(id, tmuxJobs.has(id));
      return json({ job_id: id, status: 'cancelled' });
    }
    if (path === '/logs' && options.newest) return readLog(id, url.searchParams);
    return json({ detail: 'Not Found' }, 404);
  }

  async function startJob(raw: string): Promise<Answer> {
    const body = bodyOf(raw);
    if (!body) return json({ detail: [{ msg: 'Field required', loc: ['body', 'command'] }] }, 422);
    if (rules.idFrom === 'caller' && body.job_id === undefined && rules.withoutId) return rules.withoutId;
    if (rules.hasBlacklist && options.blacklist.some((word) => body.command.includes(word))) {
      return json({ error: 'command_blocked' }, 400);
    }
    const id = rules.idFrom === 'agent' ? randomUUID() : (body.job_id ?? '');
    const tmux = !rules.hasPlainMode || body.use_tmux === true;
    if (rules.idFrom === 'caller') {
      const active = (options.newest && body.dedup_key && dedup.get(body.dedup_key)) || id;
      if (await jobs.sessionAlive(active)) {
        // Without skip_if_running tmux refuses the second session of a name, and nobody looks.
        if (!body.skip_if_running && active === id) return json({ status: rules.startedWord, job_id: id });
        return json({
          status: 'already_running',
          job_id: id,
          ...(options.newest && { active_job_id: active }),
        });
      }
      if (body.dedup_key) dedup.set(body.dedup_key, id);
    }
    if (tmux) tmuxJobs.add(id);
    const sync = rules.hasPlainMode && body.sync === true && !tmux;
    const standstill = Promise.withResolvers<void>();
    if (sync) busy = standstill.promise;
    commands.push(body.command);
    try {
      const { ended } = await jobs.start({
        id,
        command: body.command,
        user: body.run_as_user ?? null,
        tmux,
        env: rules.envReachesCommand ? (body.env ?? {}) : {},
        runningIsWrittenLate: rules.idFrom === 'caller',
      });
      if (!sync) return json({ job_id: id, status: rules.startedWord });
      await ended;
      return rules.statusOf(id, await jobs.files(id));
    } finally {
      standstill.resolve();
    }
  }

  async function readLog(id: string, query: URLSearchParams): Promise<Answer> {
    const files = await jobs.files(id);
    const bytes = (query.get('stream') === 'stderr' ? files?.stderr : files?.stdout) ?? Buffer.alloc(0);
    const data = bytes.subarray(Number(query.get('offset') ?? 0));
    return json({ data: data.toString('utf8'), next: bytes.length, eof: files?.exit != null });
  }

  function overRate(path: string): boolean {
    if (!rate || (rate.counts === 'run' && path !== '/run')) return false;
    recent = recent.filter((at) => at > Date.now() - rate.periodMs);
    if (recent.length >= rate.limit) return true;
    recent.push(Date.now());
    return false;
  }

  return {
    answer,
    /** The commands really started, in order. */
    commands,
    refuseToken(refused: boolean): void {
      tokenRefused = refused;
    },
  };
}

function bodyOf(raw: string): RunBody | null {
  try {
    const body = JSON.parse(raw) as RunBody;
    return typeof body.command === 'string' ? body : null;
  } catch {
    return null;
  }
}
