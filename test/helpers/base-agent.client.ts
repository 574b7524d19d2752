/**
 * Speaks the Base protocol to any agent, plainly: what the contract suites and the launcher's tests ask with. Takes
 * any certificate, because these tests are not about TLS.
 */
import { Agent, request } from 'undici';
import { until } from './until.ts';

export interface AgentAddress {
  url: string;
  token: string;
}

export interface StatusBody {
  job_id: string;
  status: string;
  return_code?: number | null;
  stdout?: string | null;
  stderr?: string | null;
}

export type BaseClient = ReturnType<typeof createBaseClient>;

export function createBaseClient(agent: AgentAddress) {
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false }, connections: 8 });

  async function call(method: 'GET' | 'POST', path: string, body?: unknown, token = agent.token) {
    const reply = await request(`${agent.url}${path}`, {
      method,
      dispatcher,
      headers: { 'x-agent-token': token, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
    });
    return { status: reply.statusCode, headers: reply.headers, text: await reply.body.text() };
  }

  async function json<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
    const reply = await call(method, path, body);
    if (reply.status !== 200) throw new Error(`${method} ${path}: ${reply.status} ${reply.text}`);
    return JSON.parse(reply.text) as T;
  }

  /** Starts a command and answers with the id under which the agent knows it. */
  async function run(command: string, more: Record<string, unknown> = {}): Promise<string> {
    const base = { job_type: 'shell', command, run_as_user: null, sync: false, use_tmux: false };
    return (await json<{ job_id: string }>('POST', '/run', { ...base, ...more })).job_id;
  }

  const status = (id: string) => json<StatusBody>('GET', `/status/${encodeURIComponent(id)}`);

  /** Asks until there is a return code: that alone means over, on every generation. */
  const ended = (id: string, timeoutMs = 30_000) =>
    until(
      async () => {
        const now = await status(id);
        return now.return_code != null && now;
      },
      { timeoutMs, everyMs: 50, what: `the end of ${id}` },
    );

  return { call, json, run, status, ended, close: () => dispatcher.close() };
}
