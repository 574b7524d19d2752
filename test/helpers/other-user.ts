/** A user of this machine other than root who can log in, for tests that run commands as somebody else. */
import { readFileSync, statSync } from 'node:fs';

export interface OtherUser {
  name: string;
  home: string;
}

/** One with a shell and a home of their own, or null: also where the tests do not run as root. */
export function otherUser(): OtherUser | null {
  if (process.getuid?.() !== 0) return null;
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name = '', , uid, , , home = '', shell = ''] = line.split(':');
    if (Number(uid) > 0 && /\/(ba|da|z|)sh$/.test(shell) && isOwn(home, Number(uid))) return { name, home };
  }
  return null;
}

function isOwn(home: string, uid: number): boolean {
  try {
    return statSync(home).uid === uid;
  } catch {
    return false;
  }
}
