/** When a request of this process has been sent as a whole, whoever sent it: what lies between its last byte and its reply. */
import { subscribe } from 'node:diagnostics_channel';

/** @param listener is given the request's path, at once */
export function onRequestSent(listener: (path: string) => void): void {
  subscribe('undici:request:bodySent', (message) => {
    listener((message as { request: { path: string } }).request.path);
  });
}
