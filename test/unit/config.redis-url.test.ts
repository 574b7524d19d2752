import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { loadConfig } from '../../src/config.ts';

describe('parseRedisUrl', () => {
  it.each([
    ['redis://db', { shown: 'redis://db:6379', host: 'db', port: 6379, db: 0 }],
    ['redis://[::1]:7000/', { shown: 'redis://[::1]:7000', host: '::1', port: 7000, db: 0 }],
    [
      'redis://me:p%40s%2Fs@10.0.0.1:1/3',
      { shown: 'redis://10.0.0.1:1/3', host: '10.0.0.1', port: 1, username: 'me', password: 'p@s/s', db: 3 },
    ],
    ['redis://:a:b@@db', { shown: 'redis://db:6379', host: 'db', port: 6379, password: 'a:b@', db: 0 }],
    ['rediss://db:1', { shown: 'rediss://db:1', host: 'db', port: 1, db: 0, tls: {} }],
    ['unix:///run/a%20b.sock', { shown: 'unix:///run/a b.sock', path: '/run/a b.sock', db: 0 }],
    [
      'unix:///run/redis.sock?password=p%3D&db=2',
      { shown: 'unix:///run/redis.sock', path: '/run/redis.sock', password: 'p=', db: 2 },
    ],
  ])('%s is one server', (url, address) => {
    expect(parseRedisUrl(url)).toEqual(address);
  });

  it('redis+sentinel:// is the Sentinels, the name of their primary, and a login for each of both', () => {
    const url =
      'redis+sentinel://me:secret@s1,s2:5000,[fd00::1]/main/2?sentinel_username=us&sentinel_password=sesame';
    expect(parseRedisUrl(url)).toEqual({
      shown: 'redis+sentinel://s1:26379,s2:5000,[fd00::1]:26379/main/2',
      sentinels: [
        { host: 's1', port: 26379 },
        { host: 's2', port: 5000 },
        { host: 'fd00::1', port: 26379 },
      ],
      name: 'main',
      username: 'me',
      password: 'secret',
      sentinelUsername: 'us',
      sentinelPassword: 'sesame',
      db: 2,
    });
  });

  it('rediss+sentinel:// is the same over TLS', () => {
    expect(parseRedisUrl('rediss+sentinel://s1/main')).toEqual({
      shown: 'rediss+sentinel://s1:26379/main',
      sentinels: [{ host: 's1', port: 26379 }],
      name: 'main',
      db: 0,
      tls: {},
    });
  });

  it.each([
    ['http://:hunter2@db', /must begin with redis:\/\/, rediss:\/\//],
    ['redis://:hunter2/x@db', /special in a password as %XX/],
    ['redis://:hunter2%@db', /%25/],
    ['redis://:hunter2@db:99999', /port from 1 to 65535/],
    ['redis://:hunter2@db/hunter2', /by a number/],
    ['redis://db?password=hunter2', /nothing after its \?/],
    ['redis://:hunter2@a,b', /\+sentinel only/],
    ['redis+sentinel://:hunter2@a,b', /in the primary's name/],
    ['redis+sentinel://a,b/main?password=hunter2', /only sentinel_username and sentinel_password/],
    ['redis+sentinel://me:12/hunter2@a', /in the primary's name/],
    ['unix://hunter2', /must begin with/],
  ])('%s is refused, in words that show nothing of it', (url, words) => {
    const parse = () => parseRedisUrl(url);
    expect(parse).toThrow(words);
    expect(parse).toThrow(expect.not.objectContaining({ message: expect.stringContaining('hunter2') }));
  });
});

describe('loadConfig', () => {
  let dir: string;
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-redis-tls-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('gives the address the contents of the certificate files', async () => {
    const made = await generate([{ name: 'commonName', value: 'redis' }], { keyType: 'ec' });
    const env = {
      REDIS_URL: 'rediss://db',
      SLUICE_REDIS_TLS_CA: file('ca.pem', made.cert),
      SLUICE_REDIS_TLS_CERT: file('cert.pem', made.cert),
      SLUICE_REDIS_TLS_KEY: file('key.pem', made.private),
    };
    expect(loadConfig({}, env).redis?.tls).toEqual({ ca: made.cert, cert: made.cert, key: made.private });
  });

  it('names the setting of every file that is of no use', async () => {
    const [one, other] = await Promise.all(
      ['one', 'other'].map((value) => generate([{ name: 'commonName', value }])),
    );
    const env = {
      REDIS_URL: 'rediss://db',
      SLUICE_REDIS_TLS_CA: file('no-ca.pem', 'nothing\n'),
      SLUICE_REDIS_TLS_CERT: file('one.pem', one?.cert ?? ''),
      SLUICE_REDIS_TLS_KEY: file('other.pem', other?.private ?? ''),
    };
    expect(() => loadConfig({}, env)).toThrow(
      `SLUICE_REDIS_TLS_CA: ${env.SLUICE_REDIS_TLS_CA} is no certificate as PEM\n` +
        `SLUICE_REDIS_TLS_CERT: ${env.SLUICE_REDIS_TLS_CERT} is no certificate of the private key in redis_tls.key`,
    );
    const missing = { REDIS_URL: 'rediss://db', SLUICE_REDIS_TLS_KEY: join(dir, 'missing') };
    expect(() => loadConfig({}, missing)).toThrow(
      /SLUICE_REDIS_TLS_KEY: redis_tls.cert and redis_tls.key belong together\nSLUICE_REDIS_TLS_KEY: ENOENT/,
    );
  });

  it('refuses certificates for a connection in the clear: whoever set them expects another one', () => {
    const env = { REDIS_URL: 'redis://db', SLUICE_REDIS_TLS_CA: '/ca.pem' };
    expect(() => loadConfig({}, env)).toThrow(
      'SLUICE_REDIS_TLS_CA: redis_tls.ca needs a redis_url that begins with rediss',
    );
  });

  it('names the line of a wrong address, and shows nothing of it', () => {
    const SLUICE_CONFIG = file('sluice.yaml', 'log_level: info\nredis_url: redis://:hunter2@db/x\n');
    expect(() => loadConfig({}, { SLUICE_CONFIG })).toThrow(
      `${SLUICE_CONFIG}:2: redis_url: must name its database by a number: .../DB`,
    );
  });
});
