/** A gateway that does not answer for now: what a command that waits anyway sits out. */
import { Failure } from '../failure.ts';

/** What the API says of itself and of hosts where the same question may be answered in a moment. */
const FOR_NOW = [
  'store_unavailable',
  'not_acknowledged',
  'overloaded',
  'host_busy',
  'agent_busy',
  'agent_unreachable',
  'agent_reply_lost',
];

export function isAway(error: unknown): boolean {
  return (
    (error instanceof Failure && /^(no gateway answers|50\d)/.test(error.message)) || isForNow(codeOf(error))
  );
}

/** @param code of a problem */
export function isForNow(code: string): boolean {
  return FOR_NOW.includes(code);
}

function codeOf(error: unknown): string {
  return error instanceof Failure ? (/^\w+/.exec(error.message)?.[0] ?? '') : '';
}
