/**
 * The shell half of the agent: the supervisor, the inner process and what they source.
 *
 * They are installed into a directory named after their content, by rename: a running shell reads its file as it
 * goes, so an upgrade must never touch a file that some supervisor is still reading. Run from source they are read
 * from beside this module; in the bundle esbuild has put their text into EMBEDDED_SCRIPTS.
 */
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const NAMES = ['supervisor.sh', 'processes.sh', 'inner.sh', 'tmux.sh', 'pane.sh'] as const;

/** One file each: a supervisor that finds no room for a file of its own gives this one another name. */
const REASONS = ['exit', 'canceled', 'timeout', 'never_ran', 'no_room'] as const;

declare const EMBEDDED_SCRIPTS: Record<string, string> | undefined;

/** Installs the scripts below `binDir` unless this very version is there, and whole. @returns its directory */
export function installScripts(binDir: string): string {
  const texts = [
    ...NAMES.map((name) => [name, scriptText(name)] as const),
    ...REASONS.map((reason) => [`reason-${reason}`, `${reason}\n`] as const),
  ];
  const version = createHash('sha256').update(JSON.stringify(texts)).digest('hex').slice(0, 16);
  const target = join(binDir, version);
  if (texts.every(([name, text]) => readIfThere(join(target, name)) === text)) return target;
  // A power cut can leave files that are empty: nothing can be running from those.
  rmSync(target, { recursive: true, force: true });
  const fresh = mkdtempSync(join(binDir, 'new-'));
  for (const [name, text] of texts) writeFileSync(join(fresh, name), text, { mode: 0o755, flush: true });
  chmodSync(fresh, 0o755);
  try {
    renameSync(fresh, target);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
  return target;
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function scriptText(name: string): string {
  if (typeof EMBEDDED_SCRIPTS !== 'undefined') return EMBEDDED_SCRIPTS[name] ?? '';
  return readFileSync(new URL(name, import.meta.url), 'utf8');
}
