/** The filters of lists of jobs: `GET /v1/jobs` in its query, `POST /v1/jobs:cancel` in its body. */
import Type, { type Static } from 'typebox';
import { SluiceError } from '../../../job/errors.ts';
import { isState, STATES } from '../../../job/states.ts';
import type { ApiKey } from '../../../store/api-keys.ts';
import type { HostStore } from '../../../store/hosts.ts';
import type { JobFilter } from '../../../store/jobs.ts';
import { ownerLimit } from '../../access.ts';

export const LabelFilter = Type.Optional(
  Type.Array(Type.String({ pattern: '^[^:]+:' }), {
    maxItems: 16,
    description: '`name:value`; repeated: what has all of them.',
  }),
);

export const FilterFields = {
  state: Type.Optional(
    Type.Array(Type.String(), {
      maxItems: 32,
      description: `Jobs in one of these states; repeated or separated by commas. ${STATES.join(', ')}.`,
    }),
  ),
  target_server: Type.Optional(
    Type.String({ minLength: 1, maxLength: 260, description: "A host's name or address." }),
  ),
  label: LabelFilter,
  created_after: Type.Optional(
    Type.String({ format: 'date-time', description: 'Jobs accepted after this time. RFC 3339.' }),
  ),
  created_before: Type.Optional(
    Type.String({ format: 'date-time', description: 'Jobs accepted before this time. RFC 3339.' }),
  ),
};

export const PageFields = {
  page_size: Type.Integer({ minimum: 1, maximum: 500, default: 100, description: 'At most so many.' }),
  page_token: Type.Optional(
    Type.String({ minLength: 1, maxLength: 1_024, description: '`next_page_token` of the page before.' }),
  ),
};

const Filters = Type.Object(FilterFields);
export type Filters = Static<typeof Filters>;

/** @throws SluiceError invalid_request with the field at fault */
export async function toJobFilter(
  filters: Filters,
  caller: ApiKey,
  hosts: Pick<HostStore, 'resolve'>,
): Promise<JobFilter> {
  const filter: JobFilter = {};
  const owner = ownerLimit(caller);
  if (owner !== undefined) filter.owner = owner;
  if (filters.state) filter.state = filters.state.flatMap((text) => text.split(',')).map(parseState);
  if (filters.label) filter.label = labelsIn(filters.label);
  if (filters.created_after) filter.created_after = parseTime('created_after', filters.created_after);
  if (filters.created_before) filter.created_before = parseTime('created_before', filters.created_before);
  if (filters.target_server === undefined) return filter;
  // A host that is gone may still have jobs under its name.
  const host = await hosts.resolve(filters.target_server);
  return { ...filter, host: host?.name ?? filters.target_server };
}

function parseState(word: string) {
  if (isState(word)) return word;
  throw fault('state', `state must be one of ${STATES.join(', ')}`);
}

/** @param texts each `name:value` */
export function labelsIn(texts: string[] = []): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const colon = text.indexOf(':');
      return [text.slice(0, colon), text.slice(colon + 1)];
    }),
  );
}

function parseTime(field: string, text: string): number {
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw fault(field, `${field} is no time`);
  return at;
}

function fault(field: string, detail: string): SluiceError {
  return new SluiceError('invalid_request', detail, { fields: { field } });
}
