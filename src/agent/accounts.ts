/**
 * User accounts of this host, asked of the system's name service each time: an account that was removed a minute
 * ago must not start a command from a cache.
 */
import { execFile } from 'node:child_process';
import { userInfo } from 'node:os';
import { Refusal } from './refusal.ts';

export interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

/** @param name has passed USER_NAME: it cannot be read as an option. @returns null if there is no such user
 * @throws Refusal where the name service does not answer */
export function findAccount(name: string): Promise<Account | null> {
  return new Promise((resolve, reject) => {
    execFile('getent', ['passwd', name], { timeout: 10_000 }, (error, stdout) => {
      if (error && error.code === 2) return resolve(null);
      if (error)
        return reject(
          new Refusal(503, 'name_service', `the users of this host cannot be looked up: ${error.message}`),
        );
      resolve(parsePasswd(stdout, name));
    });
  });
}

function parsePasswd(line: string, name: string): Account | null {
  const [found, , uid, gid, , home] = line.trim().split(':');
  if (found !== name || !/^\d+$/.test(uid ?? '') || !/^\d+$/.test(gid ?? '')) return null;
  return { name, uid: Number(uid), gid: Number(gid), home: home || '/' };
}

/** The account that the agent itself runs as. */
export function ownAccount(): Account {
  const { username, uid, gid, homedir } = userInfo();
  return { name: username, uid, gid, home: homedir };
}
