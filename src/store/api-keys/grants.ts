/** What an API key may do: its scopes, and on which hosts and as which users. Deny by default. */

export const SCOPES = [
  'jobs:submit',
  'jobs:read',
  'jobs:cancel',
  'hosts:read',
  'hosts:write',
  'webhooks:write',
  'admin',
] as const;
export type Scope = (typeof SCOPES)[number];

export interface Grants {
  /** `admin` includes all others, and sees the jobs of every key. */
  scopes: Scope[];
  /** Patterns over host names, in which `*` stands for any characters; `['*']` is every host. */
  hosts: string[];
  /** Users that jobs may run as: names, `*` for every named user, null for the agent's own (root, by custom). */
  users: (string | null)[];
}

/** Everything, everywhere, as anybody. */
export const ALL_GRANTS: Grants = { scopes: ['admin'], hosts: ['*'], users: ['*', null] };

export function hasScope(grants: Pick<Grants, 'scopes'>, scope: Scope): boolean {
  return grants.scopes.includes('admin') || grants.scopes.includes(scope);
}

export function mayUseHost(grants: Pick<Grants, 'hosts'>, name: string): boolean {
  return grants.hosts.some((pattern) => matchesPattern(pattern, name));
}

/** `*` never stands for null: the agent's own user is root by custom, and must be granted by itself. */
export function mayRunAs(grants: Pick<Grants, 'users'>, user: string | null): boolean {
  if (user === null) return grants.users.includes(null);
  return grants.users.includes(user) || grants.users.includes('*');
}

/** Without a regular expression: a pattern of many stars must not cost exponential time. */
function matchesPattern(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return pattern === name;
  if (!name.startsWith(first)) return false;
  const last = rest.pop() ?? '';
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
