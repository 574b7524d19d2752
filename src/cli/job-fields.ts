/** The fields of a job that options set, for one host as for many. What no option sets keeps the API's default. */
import { Failure } from './failure.ts';
import { pairs } from './pairs.ts';

export interface JobOptions {
  mode?: string;
  user?: string;
  env: string[];
  workdir?: string;
  shell?: string;
  timeout?: number;
  priority?: number;
  retry?: number;
  retryBackoff?: number;
  retryOn?: string[];
  uniqueKey?: string;
  onDuplicate?: string;
  callbackUrl?: string;
}

/** @throws Failure */
export function jobFields(words: string[], options: JobOptions): Record<string, unknown> {
  if (options.retry === undefined && (options.retryOn ?? options.retryBackoff) !== undefined) {
    throw new Failure('--retry-on and --retry-backoff need --retry');
  }
  return {
    command: words.join(' '),
    ...(options.mode !== undefined && { mode: options.mode }),
    ...(options.user !== undefined && { job_user: options.user }),
    ...(options.env.length > 0 && { env: pairs(options.env) }),
    ...(options.workdir !== undefined && { workdir: options.workdir }),
    ...(options.shell !== undefined && { shell: options.shell }),
    ...(options.timeout !== undefined && { timeout_seconds: options.timeout }),
    ...(options.priority !== undefined && { priority: options.priority }),
    ...(options.retry !== undefined && { retry: retryOf(options.retry, options) }),
    ...(options.uniqueKey !== undefined && { unique_key: options.uniqueKey }),
    ...(options.onDuplicate !== undefined && { on_duplicate: options.onDuplicate }),
    ...(options.callbackUrl !== undefined && { callback_url: options.callbackUrl }),
  };
}

function retryOf(max_attempts: number, { retryBackoff, retryOn }: JobOptions) {
  return {
    max_attempts,
    ...(retryBackoff !== undefined && { backoff_seconds: retryBackoff }),
    ...(retryOn !== undefined && { on: retryOn }),
  };
}
