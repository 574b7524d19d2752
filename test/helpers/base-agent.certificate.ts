/** Self-signed certificates for test agents and servers on 127.0.0.1. */
import { createHash, X509Certificate } from 'node:crypto';
import { generate } from 'selfsigned';

/** A new P-256 certificate; `fingerprint` is the sha256 of its DER in lower-case hex. */
export async function makeCertificate(commonName = 'agent.test') {
  const made = await generate([{ name: 'commonName', value: commonName }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
  });
  const der = new X509Certificate(made.cert).raw;
  return { key: made.private, cert: made.cert, fingerprint: createHash('sha256').update(der).digest('hex') };
}
