/**
 * What this host lets the agent do: run as others, use tmux, own a cgroup. Looked up once at the start; an ability
 * that is not there is not listed in `/ping` and refused in a request, never quietly replaced by a lesser one.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CAPABILITIES, type Capability } from '../protocol/agent.ts';

export interface Abilities {
  /** May run commands as other users. */
  isRoot: boolean;
  /** The path of a tmux that is good enough, or null. */
  tmux: string | null;
  /** A cgroup v2 directory that this agent may make children in, or null. */
  cgroup: string | null;
  defaultShell: string;
  capabilities: Capability[];
}

/** @param cgroup the directory to use, or `own` for the service's own where systemd delegated it; undefined for none */
export function findAbilities(cgroup: string | undefined): Abilities {
  const tmux = findTmux();
  return {
    isRoot: process.getuid?.() === 0,
    tmux,
    cgroup: cgroup === 'own' ? ownCgroup() : (cgroup ?? null),
    defaultShell: existsSync('/bin/bash') ? '/bin/bash' : '/bin/sh',
    capabilities: CAPABILITIES.filter((name) => name !== 'tmux' || tmux !== null),
  };
}

/** Before 2.6 tmux could lose the last output of a pane. */
function findTmux(): string | null {
  const path = ['/usr/bin/tmux', '/usr/local/bin/tmux', '/bin/tmux'].find((candidate) =>
    existsSync(candidate),
  );
  if (!path) return null;
  try {
    const version = /(\d+)\.(\d+)/.exec(execFileSync(path, ['-V'], { encoding: 'utf8', timeout: 5000 }));
    const [major, minor] = [Number(version?.[1]), Number(version?.[2])];
    return major > 2 || (major === 2 && minor >= 6) ? path : null;
  } catch {
    return null;
  }
}

/** Only a service's cgroup can have been delegated to it, and only one that can be killed as a whole is of use. */
function ownCgroup(): string | null {
  const line = /^0::(\/.+\.service)$/m.exec(readIfThere('/proc/self/cgroup'))?.[1];
  const mount = /^cgroup2 (\S+) cgroup2 /m.exec(readIfThere('/proc/mounts'))?.[1];
  if (!line || !mount) return null;
  const path = join(mount, line);
  try {
    accessSync(join(path, 'cgroup.procs'), constants.W_OK);
    accessSync(path, constants.W_OK);
    return existsSync(join(path, 'cgroup.kill')) ? path : null;
  } catch {
    return null;
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
