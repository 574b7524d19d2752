/** `sluice hosts list|get|set|remove|check|trust|drain|resume`, through the HTTP API. */
import { readFileSync } from 'node:fs';
import type { HostRate } from '../job/host.ts';
import { createClient } from './client.ts';
import { commandName } from './command-name.ts';
import { Failure } from './failure.ts';
import { pairs } from './pairs.ts';
import { printJson, printTable } from './terminal.ts';

/** What the table shows of a host. */
interface HostRow {
  name: string;
  address: string;
  status: string;
  cause: string | null;
  remedy: string | null;
  jobs: { queued: number; running: number };
  max_requests: number;
  max_jobs: number | null;
  rate_in_force: HostRate | null;
}

export async function listHosts(options: { label: string[]; json?: boolean }): Promise<void> {
  const client = createClient();
  const hosts: HostRow[] = [];
  for (let token: string | undefined; ; ) {
    const query = { page_token: token, label: options.label.map((pair) => pair.replace('=', ':')) };
    const page = await client.request<{ items: HostRow[]; next_page_token: string | null }>(
      'GET',
      '/v1/hosts',
      { query },
    );
    hosts.push(...page.items);
    if (page.next_page_token === null) break;
    token = page.next_page_token;
  }
  if (options.json) return printJson(hosts);
  const rows = hosts.map((host) => {
    const { name, address, status, jobs, cause, remedy } = host;
    return [
      ...[name, address, status, `${jobs.queued}`, `${jobs.running}`, limitsOf(host)],
      [cause, remedy ?? (cause && `see ${commandName()} hosts check ${name}`)].filter(Boolean).join(': '),
    ];
  });
  printTable([['NAME', 'ADDRESS', 'STATUS', 'QUEUED', 'RUNNING', 'LIMITS', 'CAUSE'], ...rows]);
}

/** `100/60s, 4 at once, 20 jobs`: what holds now. */
function limitsOf({ rate_in_force: rate, max_requests, max_jobs }: HostRow): string {
  return [
    rate && `${rate.limit}/${rate.period_seconds}s`,
    `${max_requests} at once`,
    max_jobs !== null && `${max_jobs} jobs`,
  ]
    .filter(Boolean)
    .join(', ');
}

export async function getHost(name: string): Promise<void> {
  printJson(await createClient().request('GET', hostPath(name)));
}

export interface SetHostOptions {
  address?: string;
  token?: string;
  tokenFile?: string;
  fingerprint?: string;
  ca?: string;
  pin?: boolean;
  insecure?: boolean;
  rate?: HostRate | 'default';
  burst?: number;
  maxRequests?: number | 'default';
  maxJobs?: number | 'default';
  label: string[];
  allowUser: string[];
  launcher: boolean;
}

export async function setHost(name: string, options: SetHostOptions): Promise<void> {
  const token = options.tokenFile === undefined ? options.token : readText(options.tokenFile).trim();
  const tls = tlsOf(options);
  const body = {
    ...(options.address !== undefined && { address: options.address }),
    ...(token !== undefined && { token }),
    ...(tls && { tls }),
    ...rateOf(options),
    ...(options.maxRequests !== undefined && { max_requests: orNull(options.maxRequests) }),
    ...(options.maxJobs !== undefined && { max_jobs: orNull(options.maxJobs) }),
    ...(options.label.length > 0 && { labels: pairs(options.label) }),
    ...(options.allowUser.length > 0 && { allowed_users: options.allowUser }),
    ...(!options.launcher && { launcher: false }),
  };
  printJson(await createClient().request('PUT', hostPath(name), { body }));
}

export async function removeHost(name: string): Promise<void> {
  await createClient().request('DELETE', hostPath(name));
}

/** What the gateway found when it asked: `ok` null is "could not be told, or does not apply". */
interface HostCheck {
  ok: boolean;
  checks: { name: string; ok: boolean | null; cause: string | null; remedy: string | null }[];
}

export async function checkHost(name: string, options: { json?: boolean }): Promise<void> {
  const found = await createClient().request<HostCheck>('POST', `${hostPath(name)}:check`);
  if (!found.ok) process.exitCode = 1;
  if (options.json) return printJson(found);
  for (const { name: what, ok, cause, remedy } of found.checks) {
    const why = [cause, remedy].filter(Boolean).join(': ');
    const word = ok === null ? '-    ' : ok ? 'ok   ' : 'wrong';
    process.stdout.write(`${word}  ${what}${why && `: ${why}`}\n`);
  }
}

export async function drainHost(name: string): Promise<void> {
  printJson(await createClient().request('POST', `${hostPath(name)}:drain`));
}

export async function resumeHost(name: string): Promise<void> {
  printJson(await createClient().request('POST', `${hostPath(name)}:resume`));
}

export async function trustHost(name: string): Promise<void> {
  printJson(await createClient().request('POST', `${hostPath(name)}:trust`));
}

function rateOf({ rate, burst }: SetHostOptions): { rate?: HostRate | null } {
  const set = rate && orNull(rate);
  if (burst !== undefined && !set) throw new Failure('--burst belongs to a --rate');
  if (set === undefined) return {};
  return { rate: set && { ...set, ...(burst !== undefined && { burst }) } };
}

/** As the API takes a setting back. */
function orNull<T>(value: T | 'default'): T | null {
  return value === 'default' ? null : value;
}

function tlsOf({ fingerprint, ca, pin, insecure }: SetHostOptions): Record<string, unknown> | undefined {
  const ways = [
    fingerprint !== undefined && { fingerprint },
    ca !== undefined && { ca: readText(ca) },
    pin === true && { pin: 'first_use' },
    insecure === true && { insecure: true },
  ].filter((way) => way !== false);
  if (ways.length > 1) throw new Failure('choose one of --fingerprint, --ca, --pin and --insecure');
  return ways[0];
}

function hostPath(name: string): string {
  return `/v1/hosts/${encodeURIComponent(name)}`;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Failure((error as Error).message);
  }
}
