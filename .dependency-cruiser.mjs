/**
 * Who may import whom (ARCHITECTURE.md, "The house"). Each rule says why it is there; `npm run check:boundaries`
 * holds them, and fails if it saw no module.
 */

const FOLDERS = ['job', 'protocol', 'store', 'net', 'metrics', 'api', 'workers', 'agent', 'cli', 'config'];

/** What a folder may import of ours; everything else of ours is forbidden to it. */
function onlyImports(folder, allowed, comment) {
  const others = FOLDERS.filter((name) => name !== folder && !allowed.includes(name)).join('|');
  return {
    name: `${folder}-imports-only-${allowed.join('-') || 'itself'}`,
    comment,
    severity: 'error',
    from: { path: `^src/${folder}(/|\\.ts$)`, pathNot: `^src/${folder}/main\\.ts$` },
    to: { path: `^src/(${others})(/|\\.ts$)` },
  };
}

/** A package that only some folders may use. */
function onlyUsedIn(packages, folders, comment) {
  return {
    name: `${packages[0]}-only-in-${folders.join('-')}`,
    comment,
    severity: 'error',
    from: { path: '^src/', pathNot: `^src/(${folders.join('|')})/` },
    to: { path: `^node_modules/(${packages.join('|')})/` },
  };
}

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    onlyImports('job', [], 'What a job is must be readable, and testable, without any machinery around it.'),
    onlyImports(
      'protocol',
      ['job'],
      'Both programs share these words; machinery here would tie the agent to the gateway.',
    ),
    onlyImports(
      'store',
      ['job', 'protocol'],
      'The store knows records, not why they change: else a script grows a policy.',
    ),
    onlyImports(
      'net',
      ['job', 'protocol'],
      'A socket that writes records would hide a state change from the worker that owns it.',
    ),
    onlyImports(
      'metrics',
      ['store', 'job'],
      'A metric names what the others do; if it did anything itself, a scrape would change the gateway.',
    ),
    onlyImports(
      'api',
      ['store', 'net', 'metrics', 'protocol', 'job'],
      'The API accepts and answers; what acts on hosts in the background is a worker, so that either can be restarted alone.',
    ),
    onlyImports(
      'workers',
      ['store', 'net', 'metrics', 'protocol', 'job'],
      'Workers must run without the HTTP API.',
    ),
    onlyImports(
      'agent',
      ['protocol', 'job'],
      'The agent runs as root on every host: small enough to audit, and without anything of the gateway.',
    ),
    onlyImports('config', ['job', 'protocol'], 'The configuration is read before anything else exists.'),
    {
      name: 'job-does-no-io',
      comment: 'Moves and outcomes are decided by pure functions: replayed in tests, the same on every host.',
      severity: 'error',
      from: { path: '^src/job/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'main-is-composed-only-by-the-command-line',
      comment: 'main.ts wires a program together; importing it from elsewhere starts a second wiring.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(cli/|agent/command-line\\.ts$)' },
      to: { path: '^src/[^/]+/main\\.ts$' },
    },
    {
      name: 'command-line-composes',
      comment:
        'Commands start programs by their main.ts and speak HTTP to them; they reach into no other part of them.',
      severity: 'error',
      from: { path: '^src/cli/' },
      to: {
        path: '^src/(api|workers|agent|net)/',
        pathNot: '^src/((api|workers|agent)/main|agent/log)\\.ts$',
      },
    },
    onlyUsedIn(
      ['ioredis'],
      ['store'],
      'One place decides how Redis is reached and what happens while it is away.',
    ),
    onlyUsedIn(
      ['bullmq'],
      ['store', 'workers'],
      'BullMQ only wakes workers up: whoever else sees it takes it for the record.',
    ),
    onlyUsedIn(
      ['undici'],
      ['net'],
      'Every outbound socket of the gateway passes the rules of net: certificates, forbidden addresses, bounds.',
    ),
    onlyUsedIn(['fastify', '@fastify'], ['api', 'agent'], 'HTTP is served by the API and the agent only.'),
    {
      name: 'no-circles',
      comment: 'A circle, of types too, is two files that cannot be read, tested or loaded apart.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-tests-in-the-product',
      comment: 'What ships must not need what does not.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|bench|script)/' },
    },
    {
      name: 'no-development-packages-in-the-product',
      comment: 'An installed Sluice has only its dependencies.',
      severity: 'error',
      from: { path: '^src/' },
      to: {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'],
        dependencyTypesNot: ['type-only', 'npm'],
      },
    },
    {
      name: 'imports-resolve',
      comment: 'An import that leads nowhere escapes every rule above.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
