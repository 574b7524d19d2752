/** `sluice api` and `sluice worker`: one program in the foreground, until it is asked to stop. */
import { startApi } from '../api/main.ts';
import { loadConfig } from '../config.ts';
import { startWorkers } from '../workers/main.ts';
import { joinGateway } from './gateway.ts';
import { describeListenError, describeMetricsListenError } from './listen-error.ts';
import { closeAll, listenForStop } from './stopping.ts';
import { checkTlsFiles } from './tls-files.ts';
import { packageVersion } from './version.ts';

export interface ApiOptions {
  listen?: string;
  tlsCert?: string;
  tlsKey?: string;
  tlsClientCa?: string;
}

export async function serveApi(options: ApiOptions): Promise<void> {
  const config = loadConfig({
    SLUICE_LISTEN: options.listen,
    SLUICE_TLS_CERT: options.tlsCert,
    SLUICE_TLS_KEY: options.tlsKey,
    SLUICE_TLS_CLIENT_CA: options.tlsClientCa,
  });
  checkTlsFiles(config.tls);
  await serve(async () => {
    const gateway = await joinGateway(config);
    const api = await startApi({ config, version: packageVersion(), ...gateway }).catch((error: unknown) => {
      throw describeListenError(error, config.listen);
    });
    console.log(`sluice api listens on ${api.url}`);
    return api;
  });
}

export async function serveWorkers(): Promise<void> {
  const config = loadConfig();
  await serve(async (onGivenUp) => {
    const gateway = await joinGateway(config);
    const workers = await startWorkers({ config, ...gateway, onGivenUp }).catch((error: unknown) => {
      throw describeMetricsListenError(error, config);
    });
    const told = workers.metricsUrl === null ? '' : `, and tells how at ${workers.metricsUrl}/metrics`;
    console.log(`sluice worker is at work${told}`);
    return workers;
  });
}

/** Listens for signals before anything is started, and stops what was started even when a signal came meanwhile. */
async function serve(
  start: (onGivenUp: (error: Error) => void) => Promise<{ close(): Promise<void> }>,
): Promise<void> {
  const stopping = listenForStop();
  try {
    const program = await start(stopping.now);
    await stopping.requested;
    await closeAll([() => program.close()]);
  } finally {
    stopping.done();
  }
}
