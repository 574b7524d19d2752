import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from '../../src/config.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-config-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(text: string, name = 'sluice.yaml'): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

function mistakesOf(flags: Record<string, string>, env: Record<string, string> = {}): string[] {
  try {
    loadConfig(flags, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes.map(({ place, what }) => `${place}: ${what}`);
    throw error;
  }
  return [];
}

describe('loadConfig', () => {
  it('without anything set gives a gateway on loopback without a Redis', () => {
    const config = loadConfig({}, {});
    expect(config).toMatchObject({
      redis: null,
      listen: { host: '127.0.0.1', port: 7788 },
      prefix: '{sluice}',
      heldHosts: 500,
      tls: null,
    });
  });

  it('lets a flag win over the environment, and the environment over the file', () => {
    const SLUICE_CONFIG = file('listen: 127.0.0.1:1\nheld_hosts: 1\nlog_level: warn\n');
    const env = { SLUICE_CONFIG, SLUICE_LISTEN: '127.0.0.1:2', SLUICE_HELD_HOSTS: '2' };
    const config = loadConfig({ SLUICE_LISTEN: '[::1]:3' }, env);
    expect(config).toMatchObject({ listen: { host: '::1', port: 3 }, heldHosts: 2, logLevel: 'warn' });
  });

  it('takes an empty variable for one that is not set', () => {
    expect(loadConfig({}, { REDIS_URL: '', SLUICE_HELD_HOSTS: '' })).toMatchObject({
      redis: null,
      heldHosts: 500,
    });
  });

  it('reports every mistake at once, each with its line, variable or flag', () => {
    const SLUICE_CONFIG = file(
      [
        '# a comment',
        'hled_hosts: 5',
        'webhooks:',
        '  allow: [10.0.0.0/8, 10.0.0.0/40]',
        'address_patterns:',
        '  - match: 192.168.120.0/24:18443',
        '    token: first',
        '  - match: 192.168.121.0/24',
        '    token: second',
        '    tls: { insecure: true, pin: first_use }',
        '    rate: { limit: 0 }',
      ].join('\n'),
    );
    const found = mistakesOf({ SLUICE_LISTEN: 'nowhere' }, { SLUICE_CONFIG, SLUICE_LOG_LEVEL: 'loud' });
    expect(new Set(found)).toEqual(
      new Set([
        '--listen: listen: must be host:port, such as 127.0.0.1:7788 or [::1]:7788',
        'SLUICE_LOG_LEVEL: log_level: must be one of fatal, error, warn, info, debug, trace, silent',
        `${SLUICE_CONFIG}:10: address_patterns.1.tls: must have exactly one of fingerprint, ca, pin, insecure, dangerously_off`,
        `${SLUICE_CONFIG}:11: address_patterns.1.rate: must have required properties period_seconds`,
        `${SLUICE_CONFIG}:11: address_patterns.1.rate.limit: must be >= 1`,
        `${SLUICE_CONFIG}:2: hled_hosts: there is no such setting`,
        `${SLUICE_CONFIG}:4: webhooks.allow.1: must be a network such as 10.0.0.0/8`,
        `${SLUICE_CONFIG}:8: address_patterns.1.match: must be a network and a port, such as 192.168.120.0/24:18443`,
      ]),
    );
  });

  it('says the line of a file that is no YAML', () => {
    const SLUICE_CONFIG = file('listen: 127.0.0.1:1\nwebhooks: [\n');
    expect(mistakesOf({}, { SLUICE_CONFIG })[0]).toMatch(/sluice\.yaml:[23]: /);
  });

  it('names the variable where the file itself cannot be read', () => {
    expect(mistakesOf({}, { SLUICE_CONFIG: join(dir, 'missing.yaml') })[0]).toMatch(/^SLUICE_CONFIG: ENOENT/);
  });

  it('never shows a secret in a mistake', () => {
    const env = {
      REDIS_URL: 'http://:hunter2@db',
      SLUICE_API_KEY: 'hunter2 hunter2',
      SLUICE_CALLBACK_SECRET: 'hunter2',
    };
    const found = mistakesOf({}, env);
    expect(found).toHaveLength(3);
    expect(found.join('\n')).not.toContain('hunter2');
  });

  it('wants a certificate and its key together', () => {
    expect(mistakesOf({}, { SLUICE_TLS_CERT: '/cert.pem' })).toEqual([
      'SLUICE_TLS_CERT: tls.cert and tls.key belong together',
    ]);
  });

  it("reads an address pattern's token from its file", () => {
    const token_file = file('from the file\n', 'token');
    const SLUICE_CONFIG = file(
      `address_patterns:\n  - { match: "10.0.0.0/8:18443", token_file: ${token_file} }\n`,
    );
    expect(loadConfig({}, { SLUICE_CONFIG }).addressPatterns).toEqual([
      { match: '10.0.0.0/8:18443', token: 'from the file' },
    ]);
  });

  it("reads an address pattern's limits", () => {
    const limits = 'max_requests: 2, max_jobs: 20, rate: { limit: 100, period_seconds: 60, burst: 1 }';
    const SLUICE_CONFIG = file(`address_patterns:\n  - { match: "10.0.0.0/8:18443", token: t, ${limits} }\n`);
    expect(loadConfig({}, { SLUICE_CONFIG }).addressPatterns).toEqual([
      {
        match: '10.0.0.0/8:18443',
        token: 't',
        max_requests: 2,
        max_jobs: 20,
        rate: { limit: 100, period_seconds: 60, burst: 1 },
      },
    ]);
  });

  it('freezes the result all the way down', () => {
    const config = loadConfig({}, {});
    expect(() => config.webhooks.allow.push('0.0.0.0/0')).toThrow(TypeError);
  });

  it('notices misspelt variables, but not those of Kubernetes or of a job', () => {
    const env = {
      SLUICE_LISTN: 'x',
      SLUICE_PORT: 'tcp://10.0.0.1:80',
      SLUICE_SERVICE_HOST: 'x',
      SLUICE_JOB_ID: 'x',
    };
    expect(loadConfig({}, env).unknownVariables).toEqual(['SLUICE_LISTN']);
  });
});
