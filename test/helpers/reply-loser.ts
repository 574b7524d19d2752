/** An HTTP proxy that lets requests through and loses replies: the other side has acted, and its caller does not know. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** @param lost how many replies to requests of this method are lost, from the first one on */
export async function startReplyLoser(target: string, method: string, lost: number) {
  let left = lost;
  const seen: { method: string; path: string; idempotencyKey: string | undefined }[] = [];
  const server = createServer(async (request, response) => {
    const { method: asked = 'GET', url: path = '/', headers } = request;
    const key = headers['idempotency-key'] as string | undefined;
    seen.push({ method: asked, path, idempotencyKey: key });
    const answer = await fetch(`${target}${path}`, {
      method: asked,
      headers: {
        authorization: headers.authorization ?? '',
        ...(headers['content-type'] && { 'content-type': headers['content-type'] }),
        ...(key && { 'idempotency-key': key }),
      },
      ...(asked !== 'GET' && { body: await text(request) }),
    });
    const body = await answer.text();
    if (asked === method && left > 0) {
      left--;
      request.socket.destroy();
      return;
    }
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** What was asked, the lost ones too. */
    seen,
    stop(): void {
      server.closeAllConnections();
      server.close();
    },
  };
}
