/** Which methods a path has, so that a wrong one is told as 405 with `Allow` and not as "no such thing". */
import type { Api } from '../instance.ts';

export function createMethodTable(app: Api) {
  const table = new Map<string, { path: RegExp; methods: Set<string> }>();
  app.addHook('onRoute', ({ url, method }) => {
    const entry = table.get(url) ?? { path: pathPattern(url), methods: new Set<string>() };
    for (const one of [method].flat()) entry.methods.add(one);
    table.set(url, entry);
  });
  return {
    allowed(path: string): string[] {
      const entries = [...table.values()].filter((entry) => entry.path.test(path));
      return [...new Set(entries.flatMap(({ methods }) => [...methods]))].sort();
    },
  };
}

/** `/v1/jobs/:id(^[a-z]+$)::cancel` as a pattern over whole paths. */
function pathPattern(url: string): RegExp {
  const pattern = url
    .split(/(:\w+(?:\([^)]*\))?|::|\*)/)
    .map((part) => {
      if (part === '::') return ':';
      if (part === '*') return '.*';
      const parameter = /^:\w+(?:\((.*)\))?$/.exec(part);
      if (!parameter) return part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&');
      return parameter[1]?.replace(/^\^|\$$/g, '') ?? '[^/]+';
    })
    .join('');
  return new RegExp(`^${pattern}$`);
}
