/**
 * `PUT /v1/hosts`: registers or changes many hosts with one request. What is wrong with the request is found before
 * anything is written; what only the store can know (an address in use) is said of each host by itself.
 */
import Type, { type Static } from 'typebox';
import { SluiceError } from '../../../job/errors.ts';
import { type ApiKey, mayUseHost } from '../../../store/api-keys.ts';
import type { HostPatch, HostStore } from '../../../store/hosts.ts';
import type { Api } from '../../instance.ts';
import type { LookAgain } from './look-again.ts';
import { HOST_NAME } from './path.ts';
import { PutBody, toPatch } from './put.schema.ts';

/** Hosts in one request. */
const MOST = 1_000;
/** Written at once: the store reads each host before it writes it. */
const AT_ONCE = 50;

const Body = Type.Object(
  {
    items: Type.Array(
      Type.Object(
        { name: Type.String({ pattern: HOST_NAME, description: "The host's name." }), ...PutBody.properties },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: MOST, description: `Up to ${MOST} hosts.` },
    ),
  },
  { additionalProperties: false },
);

const text = (description: string) => Type.Unsafe<string | null>({ type: ['string', 'null'], description });

const Result = Type.Object({
  name: Type.String(),
  result: Type.Unsafe<'created' | 'changed' | 'refused'>({
    type: 'string',
    enum: ['created', 'changed', 'refused'],
    description: '`refused`: nothing of this host was changed.',
  }),
  code: text("Why it was refused: the problem's code."),
  field: text('The field at fault.'),
  detail: text('Why, in a sentence.'),
});
type Result = Static<typeof Result>;

export interface PutHostsDeps {
  hosts: Pick<HostStore, 'put'>;
  lookAgain: LookAgain;
}

export function putHostsRoute(app: Api, { hosts, lookAgain }: PutHostsDeps): void {
  app.put(
    '/v1/hosts',
    {
      config: { scope: 'hosts:write', audit: 'host.put_many' },
      schema: {
        tags: ['Hosts'],
        summary: 'Register or change many hosts',
        description:
          'Each as `PUT /v1/hosts/{name}` would. Nothing is changed where the request itself is wrong, names a host ' +
          'twice or one that the key may not use; otherwise each host has its own result. To be repeated as it is.',
        body: Body,
        response: { 200: Type.Object({ items: Type.Array(Result) }) },
      },
    },
    async (request) => {
      const { items } = request.body;
      request.audited.hosts = items.map(({ name }) => name);
      refuseTwice(items.map(({ name }) => name));
      refuseForbidden(request.caller, items);
      const patches = items.map(({ name, ...body }, i) => ({ name, patch: toPatch(body, `items.${i}.`) }));
      const results: Result[] = [];
      for (let i = 0; i < patches.length; i += AT_ONCE) {
        results.push(...(await Promise.all(patches.slice(i, i + AT_ONCE).map(put))));
      }
      return { items: results };
    },
  );

  async function put({ name, patch }: { name: string; patch: HostPatch }): Promise<Result> {
    try {
      const { created } = await hosts.put(name, patch);
      lookAgain(name);
      return { name, result: created ? 'created' : 'changed', code: null, field: null, detail: null };
    } catch (error) {
      if (!(error instanceof SluiceError) || error.status >= 500) throw error;
      const { code, message, fields } = error;
      return { name, result: 'refused', code, field: String(fields.field ?? '') || null, detail: message };
    }
  }
}

function refuseTwice(names: string[]): void {
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice === -1) return;
  const field = `items.${twice}.name`;
  throw new SluiceError('invalid_request', `${field}: ${names[twice]} is there twice`, { fields: { field } });
}

/** All of them are named: else its caller would mend one with each attempt. */
function refuseForbidden(caller: ApiKey, items: { name: string }[]): void {
  const forbidden = items.map(({ name }) => name).filter((name) => !mayUseHost(caller, name));
  if (forbidden.length === 0) return;
  const detail = `the API key ${caller.name} may not use ${forbidden.length} of these hosts`;
  throw new SluiceError('forbidden', detail, { fields: { field: 'items', hosts: forbidden } });
}
