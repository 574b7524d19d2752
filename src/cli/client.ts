/**
 * A caller of a gateway's API. It finds the gateway by SLUICE_URL and SLUICE_API_KEY, else by the key file of
 * `sluice up`, and turns every problem that the API reports into a line for people.
 */
import { type Config, loadConfig } from '../config.ts';
import type { Problem } from '../protocol/problem.ts';
import { commandName } from './command-name.ts';
import { Failure } from './failure.ts';
import { dataDirAt } from './up/data-dir.ts';
import { readKeyFile } from './up/first-key.ts';

export interface Client {
  readonly url: string;
  /** @throws Failure */
  request<T>(method: string, path: string, options?: RequestOptions): Promise<T>;
  /** The bare response, once its status is good. @throws Failure */
  open(method: string, path: string, options?: RequestOptions): Promise<Response>;
}

export interface RequestOptions {
  body?: unknown;
  headers?: Record<string, string>;
  query?: Record<string, string | string[] | undefined>;
  signal?: AbortSignal;
}

export function createClient(config: Config = loadConfig()): Client {
  const { url, apiKey } = findGateway(config);
  return {
    url,
    open,
    async request<T>(method: string, path: string, options?: RequestOptions) {
      const response = await open(method, path, options);
      return (response.status === 204 ? undefined : await readJson(response)) as T;
    },
  };

  async function open(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
    const { body, headers, query = {}, signal } = options;
    const response = await send(url, `${url}${path}${search(query)}`, {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal && { signal }),
    });
    if (!response.ok) throw await problemOf(response);
    return response;
  }
}

/** Why no gateway answered, where it began to. */
export const REPLY_BROKE_OFF = 'the reply broke off';

async function readJson(response: Response): Promise<unknown> {
  const text = await response.text().catch(() => {
    throw new Failure(`no gateway answers at ${new URL(response.url).origin} (${REPLY_BROKE_OFF})`);
  });
  return JSON.parse(text);
}

/** @throws Failure that says what to set */
export function findGateway(config: Pick<Config, 'gatewayUrl' | 'apiKey' | 'dataDir' | 'listen'>) {
  const { keyFile } = dataDirAt(config.dataDir);
  const kept = readKeyFile(keyFile);
  const url = gatewayUrl(config, kept?.url);
  // The kept key is for the gateway it was made by; no other one gets to see it.
  const apiKey = config.apiKey ?? (kept?.url === url ? kept.apiKey : undefined);
  if (apiKey === undefined) {
    throw new Failure(
      `needs SLUICE_API_KEY for ${url}: there is no key for it in ${keyFile}, where \`${commandName()} up\` keeps its ` +
        'first one; set SLUICE_URL and SLUICE_API_KEY, or SLUICE_DATA to the data of that `up`',
    );
  }
  return { url, apiKey };
}

/** @param kept where the last `sluice up` was */
export function gatewayUrl(
  { gatewayUrl: url, listen }: Pick<Config, 'gatewayUrl' | 'listen'>,
  kept?: string,
): string {
  return url ?? kept ?? `http://${listen.host}:${listen.port}`;
}

/** `fetch`, for which nobody answering is a Failure. */
export async function send(gateway: string, url: string, init: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    const cause = (error as Error).cause as (Error & { code?: string }) | undefined;
    const why = cause?.code ?? cause?.message ?? (error as Error).message;
    if (/CERT|ALTNAME/.test(why)) {
      throw new Failure(
        `the certificate of ${gateway} is not trusted here (${why}); name its authority in NODE_EXTRA_CA_CERTS`,
      );
    }
    throw new Failure(
      `no gateway answers at ${gateway} (${why}); start one with \`${commandName()} up\`, or set SLUICE_URL`,
    );
  }
}

async function problemOf(response: Response): Promise<Failure> {
  const problem = (await response.json().catch(() => ({}))) as Partial<Problem>;
  const field = problem.field === undefined ? '' : ` (${problem.field})`;
  return new Failure(`${problem.code ?? response.status}: ${problem.detail ?? response.statusText}${field}`);
}

function search(query: Record<string, string | string[] | undefined>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value ?? []].flat()) params.append(name, one);
  }
  return params.size === 0 ? '' : `?${params}`;
}
