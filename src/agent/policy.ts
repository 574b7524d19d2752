/**
 * The host's own word on who may be run as whom. No request can change it, and a file that somebody else than root
 * could change is worse than none: then the agent does not start.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import Type from 'typebox';
import { Compile } from 'typebox/compile';
import { USER_NAME } from '../protocol/agent.ts';
import { checkHands } from './private-files.ts';

export const DEFAULT_POLICY_FILE = '/etc/sluice/agent-policy.json';

export interface Policy {
  /** Whom commands may run as; null is everybody. */
  users: readonly string[] | null;
}

const PolicyFile = Compile(
  Type.Object(
    { users: Type.Array(Type.String({ pattern: USER_NAME.source }), { maxItems: 10_000 }) },
    { additionalProperties: false },
  ),
);

/**
 * @param file a policy that must exist; undefined: the default one, if there is one
 * @throws when the file is missing, not root's (or the agent's own user's), writable by others, or malformed
 */
export function loadPolicy(file: string | undefined): Policy {
  const path = file ?? DEFAULT_POLICY_FILE;
  if (file === undefined && !existsSync(path)) return { users: null };
  const stat = statSync(path);
  if (stat.uid !== 0) throw new Error(`the policy file ${path} must be owned by root`);
  if ((stat.mode & 0o022) !== 0)
    throw new Error(`the policy file ${path} must not be writable by group or others`);
  // Whoever can remove the file can make everybody allowed.
  checkHands(dirname(path));
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Error(`the policy file ${path} is not JSON`, { cause: error });
  }
  if (!PolicyFile.Check(parsed)) throw new Error(`the policy file ${path} must be {"users":["name",...]}`);
  return { users: parsed.users };
}
