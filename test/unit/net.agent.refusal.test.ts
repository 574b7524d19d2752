import { describe, expect, test } from 'vitest';
import { isBareServerError, refusalIn } from '../../src/net/agent/refusal.ts';

const refused = (status: number, body: string, headers: Record<string, string> = {}) =>
  refusalIn({ status, headers, body: Buffer.from(body) });
const word = (code: string) => JSON.stringify({ error: code, message: 'words for people' });

test('a 2xx is no refusal', () => {
  expect(refused(200, '{}')).toBeNull();
});

test.each([
  [403, word('invalid_token'), 'agent_token_refused', 'safe'],
  [401, '', 'agent_token_refused', 'safe'],
  [403, '<html>forbidden</html>', 'agent_token_refused', 'safe'],
  [403, word('ip_not_allowed'), 'agent_address_refused', 'safe'],
  [429, word('rate_limited'), 'agent_busy', 'safe'],
  [429, word('busy'), 'agent_busy', 'safe'],
  [503, word('draining'), 'agent_busy', 'safe'],
  [503, '<html>unavailable</html>', 'agent_busy', 'safe'],
  [507, word('disk_full'), 'agent_busy', 'safe'],
  [400, word('command_blocked'), 'agent_rejected', 'never'],
  [422, word('user_unknown'), 'agent_rejected', 'never'],
  [422, '{"detail":[{"loc":["body","job_id"],"msg":"Field required"}]}', 'agent_rejected', 'never'],
  [409, word('job_id_conflict'), 'agent_rejected', 'never'],
  [413, word('too_large'), 'agent_rejected', 'never'],
  [409, word('store_changed'), 'agent_store_changed', 'never'],
  [409, word('canceled_before_start'), 'agent_canceled_before_start', 'never'],
  [422, '<html>a proxy</html>', 'agent_reply_invalid', 'reconcile'],
  [404, word('not_found'), 'agent_reply_invalid', 'reconcile'],
  [405, '{"detail":"Method Not Allowed"}', 'agent_reply_invalid', 'reconcile'],
  [301, '', 'agent_reply_invalid', 'reconcile'],
  [500, 'Internal Server Error', 'agent_failed', 'reconcile'],
  [502, '<html>bad gateway</html>', 'agent_failed', 'reconcile'],
])('%d %s is %s', (status, body, code, retry) => {
  expect(refused(status, body)).toMatchObject({ code, retry, fields: { http_status: status } });
});

test("the agent's own word stays with the error", () => {
  const refusal = refused(422, word('user_not_allowed'));
  expect(refusal?.fields).toEqual({ http_status: 422, agent_code: 'user_not_allowed' });
  expect(refusal?.message).toBe("The host's agent answers user_not_allowed: words for people");
});

test('what an agent says is bounded and of one line', () => {
  const refusal = refused(422, JSON.stringify({ error: 'x'.repeat(500), message: `a\nb${'c'.repeat(900)}` }));
  expect(refusal?.message).not.toMatch(/\n/);
  expect(refusal!.message.length).toBeLessThan(420);
});

describe('how long to wait', () => {
  test.each([
    ['seconds', { 'retry-after': '7' }, 7],
    ['a date in the past', { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }, 1],
    ['far too long', { 'retry-after': '999999' }, 3600],
    ['no sense', { 'retry-after': 'soon' }, 15],
    ['nothing', {}, 15],
  ])('%s', (_, headers: Record<string, string>, seconds) => {
    expect(refused(429, word('rate_limited'), headers)?.fields.retry_after).toBe(seconds);
  });

  test('a full disk is given a minute', () => {
    expect(refused(507, word('disk_full'))).toMatchObject({
      message: "The host's agent answers disk_full: words for people",
      fields: { retry_after: 60, agent_code: 'disk_full' },
    });
  });
});

test('the bare 500 of the first generation is told from other failures', () => {
  const reply = (status: number, body: string) => ({ status, headers: {}, body: Buffer.from(body) });
  expect(isBareServerError(reply(500, 'Internal Server Error'))).toBe(true);
  expect(isBareServerError(reply(500, '{"error":"internal"}'))).toBe(false);
  expect(isBareServerError(reply(502, 'Internal Server Error'))).toBe(false);
});
