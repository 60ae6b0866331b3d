// A GraphQL explorer without dependencies: edits and runs operations, and reads the schema.

const $ = (id) => document.getElementById(id);

function attempt(action, otherwise) {
  try {
    return action();
  } catch {
    return otherwise;
  }
}

// If the browser blocks storage, the page works but remembers nothing.
const recall = (storage, key) => attempt(() => JSON.parse(window[storage].getItem(key)), null) ?? {};
const remember = (storage, key, value) =>
  attempt(() => window[storage].setItem(key, JSON.stringify(value)));
const STATE = ['localStorage', 'tenantry.explorer'];
const SESSION = ['sessionStorage', 'tenantry.session'];

function el(tag, props, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children.flat().filter((child) => child !== null));
  return node;
}

// The language: enough of it to colour, to list operations and to reformat

const KINDS = ['space', 'comment', 'string', 'number', 'variable', 'name', 'mark', 'invalid'];
const TOKEN = new RegExp([
  /([\s,\uFEFF]+)/,
  /(#[^\n\r]*)/,
  /("""(?:\\"""|(?!"""|\\""")[^])*"""|"(?!"")(?:\\.|[^"\\\n\r])*")/,
  /(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/,
  /(\$[_A-Za-z]\w*)/,
  /([_A-Za-z]\w*)/,
  /(\.{3}|[!&():=@[\]{|}])/,
  /([^])/,
].map((part) => part.source).join('|'), 'g');
const OPERATIONS = ['query', 'mutation', 'subscription'];
const KEYWORDS = [...OPERATIONS, 'fragment', 'on', 'true', 'false', 'null'];
const OPENING = { ')': '(', ']': '[', '}': '{' };
const opens = (text) => Object.values(OPENING).includes(text);

function lex(source) {
  return Array.from(source.matchAll(TOKEN), ([text, ...groups]) =>
    ({ text, kind: KINDS[groups.findIndex((group) => group !== undefined)] }));
}

/** The names of the operations; empty for an operation without a name. */
function operations(source) {
  const tokens = lex(source).filter(({ kind }) => kind !== 'space' && kind !== 'comment');
  const names = [];
  let depth = 0;
  let inDefinition = false;
  tokens.forEach(({ text }, index) => {
    const next = tokens[index + 1];
    if (!inDefinition && text === '{') names.push('');
    if (!inDefinition && OPERATIONS.includes(text)) names.push(next?.kind === 'name' ? next.text : '');
    if (opens(text)) depth += 1;
    else if (text in OPENING) depth -= 1;
    inDefinition = text !== '}' || depth !== 0;
  });
  return names;
}

/** Indents the document and breaks its lines at braces; what is not understood stays as it is. */
function prettify(source) {
  const tokens = lex(source);
  if (tokens.some(({ kind }) => kind === 'invalid')) return source;
  const open = [];
  let out = '';
  let before = '';
  tokens.forEach(({ text, kind }, index) => {
    if (kind === 'space') return;
    const space = tokens[index - 1]?.kind === 'space' ? tokens[index - 1].text : '';
    if (text in OPENING) open.pop();
    const inValue = open.includes('(') || text === ')';
    const atBrace = !inValue && (text === '}' || before === '{' || before === '}');
    const blank = text !== '}' && before !== '{'
      && (/\n\s*\n/.test(space) || (before === '}' && open.length === 0 && !inValue));
    if (atBrace || space.includes('\n')) out += (blank ? '\n\n' : '\n') + '  '.repeat(open.length);
    else if (space !== '') out += space.includes(',') ? ', ' : ' ';
    out += text;
    if (opens(text)) open.push(text);
    before = text;
  });
  return out.trim();
}

// Colours

function queryParts(source) {
  return lex(source).map(({ text, kind }) => {
    if (kind !== 'name') return [text, kind];
    return [text, KEYWORDS.includes(text) ? 'keyword' : /^[A-Z]/.test(text) && 'type'];
  });
}

function jsonParts(source) {
  const parts = /("(?:\\.|[^"\\\n])*")(\s*:)?|(-?\d[\d.eE+-]*)|(true|false|null)|[^"\-\dtfn]+|[^]/g;
  return Array.from(source.matchAll(parts), ([text, string, colon, number, word]) =>
    [text, (string && (colon ? 'key' : 'string')) || (number && 'number') || (word && 'keyword')]);
}

function paint(pre, source, parts) {
  // Colouring long text would make the page slow.
  const coloured = source.length <= 20_000;
  const nodes = coloured ? parts(source).map(([textContent, className]) =>
    (className ? el('span', { className, textContent }) : textContent)) : [source];
  pre.replaceChildren(...nodes);
  return coloured;
}

// Editors

function setText(area, text) {
  area.value = text;
  area.dispatchEvent(new Event('input'));
  area.scrollTo(0, 0);
}

function setUpEditor(area, parts, changed) {
  const box = area.parentElement;
  const pre = box.querySelector('pre');
  let leaving = false;
  area.addEventListener('input', () => {
    box.classList.toggle('lit', paint(pre, area.value, parts));
    changed();
    remember(...STATE, { query: $('query').value, variables: $('variables').value });
  });
  area.addEventListener('scroll', () => {
    pre.style.transform = `translate(${-area.scrollLeft}px, ${-area.scrollTop}px)`;
  });
  area.addEventListener('keydown', (event) => {
    const { key, shiftKey, altKey, ctrlKey, metaKey } = event;
    if (key === 'Tab' && !(leaving || shiftKey || altKey || ctrlKey || metaKey)) {
      event.preventDefault();
      // The deprecated call is the only one that keeps the browser's undo history.
      document.execCommand('insertText', false, '  ');
    }
    leaving = key === 'Escape';
  });
}

function showOperations() {
  const names = operations($('query').value);
  const picker = $('operation');
  const chosen = picker.value;
  picker.replaceChildren(...names.map((name) => new Option(name || '(no name)', name)));
  if (names.includes(chosen)) picker.value = chosen;
  picker.hidden = names.length < 2;
}

/** The variables as an object, or null after saying what is wrong with them. */
function readVariables() {
  let problem = '';
  let value = null;
  try {
    value = JSON.parse($('variables').value.trim() || '{}');
    const isObject = value !== null && typeof value === 'object' && !Array.isArray(value);
    if (!isObject) problem = 'The variables must be one JSON object, such as {"first": 10}.';
  } catch (error) {
    problem = `The variables are not valid JSON: ${error.message}`;
  }
  $('variables-problem').textContent = problem;
  $('variables').setAttribute('aria-invalid', String(problem !== ''));
  return problem === '' ? value : null;
}

// Examples

let seenOccurrence = '<event id>@<start in UTC>';
const inDays = (days) => new Date(Date.now() + days * 86_400_000).toISOString().replace(/\.\d+/, '');
const FILL = {
  now: () => inDays(0),
  inThirtyDays: () => inDays(30),
  timeZone: () => Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC',
  occurrence: () => seenOccurrence,
  nextMonday: () => {
    const day = new Date();
    day.setDate(day.getDate() + ((8 - day.getDay()) % 7 || 7));
    // Swedish dates are ISO dates.
    return `${day.toLocaleDateString('sv-SE')}T09:00:00`;
  },
};
const EXAMPLES = Array.from(document.querySelectorAll('.example'), ({ dataset, content }) => {
  const [query, variables] = Array.from(content.querySelectorAll('pre'), (pre) => pre.textContent);
  return { title: dataset.title, query, variables };
});

function loadExample({ query, variables }) {
  const mine = $('query').value.trim();
  const touched = mine !== '' && !EXAMPLES.some((example) => example.query === mine);
  if (touched && !confirm('Replace the query and the variables?')) return;
  setText($('query'), query);
  setText($('variables'), variables.replace(/\{\{(\w+)\}\}/g, (_, word) => FILL[word]()));
}

// Requests

let session = recall(...SESSION);
let running = null;

async function post(path, body, signal) {
  const headers = { 'Content-Type': 'application/json', Accept: 'application/json' };
  const { token } = session;
  if (token && path === '/graphql') headers.Authorization = `Bearer ${token}`;
  const init = { method: 'POST', headers, body: JSON.stringify(body), signal, credentials: 'omit' };
  const response = await fetch(path, init);
  if (response.status === 401 && headers.Authorization && token === session.token) setSession({});
  const text = await response.text();
  return { response, text, json: attempt(() => JSON.parse(text), null) };
}

function report(text, tone = '') {
  $('status').textContent = text;
  $('status').className = tone;
}

function showAnswer({ response, text, json }, milliseconds) {
  const errors = Array.isArray(json?.errors) ? json.errors.length : 0;
  const parts = [`HTTP ${response.status} ${response.statusText}`.trim(), `${milliseconds} ms`];
  if (errors > 0) parts.push(errors === 1 ? '1 error' : `${errors} errors`);
  if (response.status === 401) parts.push('log in to go on');
  report(parts.join(' · '), response.ok && errors === 0 ? 'good' : 'bad');
  paint($('result'), json === null ? text : JSON.stringify(json, null, 2), jsonParts);
  $('result').scrollTo(0, 0);
  seenOccurrence = text.match(/"([0-9a-f]{24}@[^"\\]+)"/)?.[1] ?? seenOccurrence;
}

async function run() {
  const variables = readVariables();
  if (running || variables === null) {
    if (!running) report('Not sent: see the variables.', 'bad');
    return;
  }
  running = new AbortController();
  $('run').textContent = 'Stop';
  report('Running …');
  const body = { query: $('query').value, variables, operationName: $('operation').value || null };
  const start = performance.now();
  try {
    const answer = await post('/graphql', body, running.signal);
    showAnswer(answer, Math.round(performance.now() - start));
  } catch (error) {
    const stopped = error.name === 'AbortError';
    report(stopped ? 'Stopped.' : `The server could not be reached: ${error.message}`, 'bad');
  }
  running = null;
  $('run').textContent = 'Run';
}

// Session

function showSession() {
  $('who').textContent = session.who ?? '';
  $('logout').hidden = !session.token;
  $('entry').hidden = Boolean(session.token);
}

function setSession(next, focused) {
  session = next;
  remember(...SESSION, session);
  $('login').reset();
  $('paste').reset();
  $('entry').open = false;
  showSession();
  focused?.focus();
  loadSchema();
}

async function logIn(event) {
  event.preventDefault();
  $('login-problem').textContent = '';
  try {
    const { response, json } = await post('/auth/login', Object.fromEntries(new FormData($('login'))));
    if (response.ok && json?.access_token) {
      const who = [json.role, json.organization_name].filter(Boolean).join(' of ') || 'Logged in';
      setSession({ token: json.access_token, who }, $('query'));
      return;
    }
    const fields = (json?.errors ?? []).map(({ field, message }) => `${field} ${message}`);
    const detail = json?.detail ?? `The server answered with HTTP ${response.status}.`;
    $('login-problem').textContent = [detail, ...fields].join(' ');
  } catch (error) {
    $('login-problem').textContent = `The server could not be reached: ${error.message}`;
  }
}

// Schema

const GROUPS = {
  OBJECT: 'Objects', INTERFACE: 'Interfaces', UNION: 'Unions',
  INPUT_OBJECT: 'Inputs', ENUM: 'Enums', SCALAR: 'Scalars',
};
let schema = null;

function whyNoSchema({ response, json }) {
  const error = json?.errors?.[0];
  if ([401, 403].includes(response.status) || error?.extensions?.code === 'unauthenticated') {
    return 'The server shows its schema only to those who are logged in.';
  }
  if (response.status >= 429) return `The schema could not be read: HTTP ${response.status}.`;
  const said = error ? ` The server says: “${error.message}”` : '';
  return `Introspection is switched off on this server; the schema is in docs/schema.graphql.${said}`;
}

async function loadSchema() {
  let problem = '';
  try {
    const answer = await post('/graphql', { query: $('introspection').content.textContent });
    const found = answer.json?.data?.__schema;
    if (found) {
      const types = found.types.filter((type) => !type.name.startsWith('__'));
      types.sort((a, b) => a.name.localeCompare(b.name));
      const roots = [found.queryType, found.mutationType, found.subscriptionType];
      const names = roots.filter(Boolean).map((type) => type.name);
      schema = { types: new Map(types.map((type) => [type.name, type])), roots: names };
    } else {
      problem = whyNoSchema(answer);
    }
  } catch (error) {
    problem = `The schema could not be read: ${error.message}`;
  }
  $('search').disabled = schema === null;
  if (schema) search();
  else $('browser').replaceChildren(about(problem));
}

const address = (...path) => `#/${path.map(encodeURIComponent).join('/')}`;
const link = (text, ...path) => el('a', { href: address(...path), textContent: text });
const members = (type) => type.fields ?? type.inputFields ?? type.enumValues ?? [];
const links = (types) => (types ?? []).map(({ name }) => el('li', {}, link(name, name)));

function reference(type) {
  if (type?.kind === 'NON_NULL') return [...reference(type.ofType), '!'];
  if (type?.kind === 'LIST') return ['[', ...reference(type.ofType), ']'];
  return [type ? link(type.name, type.name) : '…'];
}

function about(text, className = 'about') {
  const parts = (text ?? '').split('`').map((part, index) =>
    (index % 2 === 1 ? el('code', { textContent: part }) : part));
  return text ? el('p', { className }, parts) : null;
}

function member(field, target) {
  const signature = el('code', {}, el('b', { textContent: field.name }));
  if (field.type) signature.append(': ', ...reference(field.type));
  if (field.defaultValue) signature.append(` = ${field.defaultValue}`);
  const reason = ['Deprecated', field.deprecationReason].filter(Boolean).join(': ');
  const badge = about(field.isDeprecated ? reason : '', 'badge');
  const args = field.args?.length ? el('ul', {}, field.args.map((arg) => member(arg))) : null;
  const className = `${field.isDeprecated ? 'gone' : ''} ${field.name === target ? 'target' : ''}`;
  return el('li', { className }, signature, badge, about(field.description), args);
}

function section(title, items, className = '') {
  return items.length ? [el('h4', { textContent: title }), el('ul', { className }, items)] : [];
}

function overview() {
  const all = [...schema.types.values()];
  const roots = schema.roots.map((name) => schema.types.get(name));
  const fields = (type) => type.fields.map(({ name }) => el('li', {}, link(name, type.name, name)));
  const group = (kind) => links(all.filter((type) => type.kind === kind && !roots.includes(type)));
  return [
    ...roots.flatMap((type) => section(type.name, fields(type))),
    ...Object.entries(GROUPS).flatMap(([kind, title]) => section(title, group(kind))),
  ];
}

function typePage(type, target) {
  const kind = el('small', { textContent: type.kind.replace('_OBJECT', '').toLowerCase() });
  const title = type.enumValues ? 'Values' : 'Fields';
  return [
    el('p', {}, link('All types')),
    el('h3', { tabIndex: -1 }, `${type.name} `, kind),
    about(type.description),
    section('Implements', links(type.interfaces)),
    section('One of', links(type.possibleTypes)),
    section(title, members(type).map((field) => member(field, target)), 'fields'),
  ].flat().filter(Boolean);
}

function showPage() {
  const [name, target] = attempt(() => location.hash.slice(2).split('/').map(decodeURIComponent), []);
  const type = schema?.types.get(name);
  if (schema) $('browser').replaceChildren(...(type ? typePage(type, target) : overview()));
  $('browser').scrollTo(0, 0);
  $('browser').querySelector('.target')?.scrollIntoView({ block: 'nearest' });
}

function follow() {
  $('search').value = '';
  showPage();
  ($('browser').querySelector('h3') ?? $('browser')).focus({ preventScroll: true });
}

function search() {
  const word = $('search').value.trim().toLowerCase();
  const hits = [...schema.types.values()].flatMap((type) => [
    [type.name, type.name],
    ...members(type).map(({ name }) => [`${type.name}.${name}`, type.name, name]),
  ]).filter(([text, , name]) => (word.includes('.') ? text : name ?? text).toLowerCase().includes(word));
  const count = hits.length === 1 ? '1 match' : `${hits.length} matches`;
  if (word === '') showPage();
  else $('browser').replaceChildren(
    el('p', { className: 'about', role: 'status', textContent: count }),
    el('ul', {}, hits.map((hit) => el('li', {}, link(...hit)))),
  );
}

// Start

function wireRequest() {
  setUpEditor($('query'), queryParts, showOperations);
  setUpEditor($('variables'), jsonParts, readVariables);
  $('run').addEventListener('click', () => (running ? running.abort() : run()));
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.repeat || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    run();
  });
  $('prettify').addEventListener('click', () => {
    setText($('query'), prettify($('query').value));
    const text = $('variables').value;
    setText($('variables'), attempt(() => JSON.stringify(JSON.parse(text), null, 2), text));
  });
  $('examples').append(...EXAMPLES.map(({ title }, index) => new Option(title, index)));
  $('examples').addEventListener('change', ({ target }) => {
    loadExample(EXAMPLES[target.value]);
    target.value = '';
  });
}

function wireSession() {
  const entry = $('entry');
  const summary = entry.querySelector('summary');
  $('login').addEventListener('submit', logIn);
  $('paste').addEventListener('submit', (event) => {
    event.preventDefault();
    const token = $('paste').elements.token.value.trim();
    setSession({ token, who: 'With a token of yours' }, $('query'));
  });
  $('logout').addEventListener('click', () => setSession({}, summary));
  entry.addEventListener('toggle', () => entry.open && $('login').elements.email.focus());
  entry.addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape') return;
    entry.open = false;
    summary.focus();
  });
  document.addEventListener('pointerdown', ({ target }) => {
    if (!entry.contains(target)) entry.open = false;
  });
  showSession();
}

function wireSchema() {
  $('search').addEventListener('input', search);
  window.addEventListener('hashchange', follow);
  $('browser').addEventListener('click', ({ target }) => {
    // A link to the current page does not change the address.
    if (target.closest('a')?.hash === location.hash) follow();
  });
  loadSchema();
}

wireRequest();
wireSession();
wireSchema();
const { query, variables } = recall(...STATE);
if (query) {
  setText($('query'), query);
  setText($('variables'), variables ?? '');
} else {
  loadExample(EXAMPLES[0]);
}
