// The page for people. It shows and changes what REST v1 (docs/rest-v1.md) lets the person
// of the session see and change, and decides nothing itself: what it hides from somebody, the
// server refuses them too. docs/page.md describes it for users.
//
// Every text from outside becomes a text node. Nothing is kept in the browser: no storage, no
// state of the history. The value of a new token is in one element alone, until wipe().

// ---- the API ---------------------------------------------------------------------------

const ROOT = '/api/v1'
const PAGE_SIZE = 100

// What went wrong, as the API says it.
class Problem extends Error {
  constructor (error, status) {
    super(error.message)
    Object.assign(this, { status, ...error })
  }
}

// Ends what a view reads when it is left. A loop keeps the signal of the view that began it.
let leaving = new AbortController()

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

async function request (method, path, { body, key, signal } = {}) {
  const headers = { Accept: 'application/json' }
  if (body) headers['Content-Type'] = 'application/json'
  if (key) headers['Idempotency-Key'] = key
  let response
  let answer
  try {
    response = await fetch(ROOT + path, { method, headers, body: body && JSON.stringify(body), signal })
    answer = response.status === 204 ? null : await response.json()
  } catch (error) {
    if (error.name === 'AbortError') throw error
    throw new Problem({ message: 'The server cannot be reached.', nextAction: 'Check the connection, then try again.' })
  }
  if (response.ok) return answer
  if (response.status === 429 && method === 'GET') {
    await pause(Number(response.headers.get('Retry-After')) || 1)
    return request(method, path, { signal })
  }
  throw new Problem(answer.error ?? { message: `The server answers ${response.status}.` }, response.status)
}

const get = (path, query = {}, { signal } = leaving) => {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value))
  return request('GET', given.size ? `${path}?${given}` : path, { signal })
}
const send = (method, path, body = {}, key = undefined) => request(method, path, { body, key })

// The pages of a list, one after the other.
async function * pagesOf (path, field) {
  const view = leaving
  let cursor
  do {
    const page = await get(path, { limit: PAGE_SIZE, cursor }, view)
    yield page[field]
    cursor = page.pageInfo.nextCursor
  } while (cursor)
}

async function all (path, field, enough = () => false) {
  const items = []
  for await (const page of pagesOf(path, field)) {
    items.push(...page)
    if (enough(page)) break
  }
  return items
}

// ---- elements --------------------------------------------------------------------------

// Children are elements, texts, arrays of them, and what a condition leaves: false and null.
const nodes = (children) => children.flat(Infinity).filter((child) => child != null && child !== false)
const put = (element, ...children) => element.replaceChildren(...nodes(children))
const make = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (value === true) element.setAttribute(name, '')
    else if (value !== false && value != null) element.setAttribute(name, value)
  }
  element.append(...nodes(children))
  return element
}
const h = (tag, attributes = {}, ...children) => make(document.createElement(tag), attributes, children)
const svg = (tag, attributes = {}, ...children) => make(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children)

const byId = (id) => document.getElementById(id)
// Text from outside, whose direction stays its own.
const named = (text) => h('bdi', {}, text)
const hidden = (...children) => h('span', { class: 'hidden' }, ...children)
const button = (label, onclick, attributes = {}) => h('button', { type: 'button', onclick, ...attributes }, label)
const dot = (text, kind = text) => h('span', { class: `state ${kind}` }, text)
const count = (n, noun, plural = `${noun}s`) => `${n} ${n === 1 ? noun : plural}`

let nextId = 1
const newId = () => `e${nextId++}`

// For everybody, and read out by screen readers.
const say = (...children) => put(byId('status'), ...children)

// A label and its control, or several controls under a legend.
function field (label, control, hint) {
  control.id ||= newId()
  const hintId = hint && newId()
  if (hint) control.setAttribute('aria-describedby', hintId)
  return h('p', { class: 'field' }, h('label', { for: control.id }, label), control, hint && h('small', { id: hintId }, hint))
}
const group = (legend, ...children) => h('fieldset', {}, h('legend', {}, legend), ...children)
const choice = (type, attributes, label, hint) => {
  const id = newId()
  return h('p', { class: 'choice' }, h('input', { type, id, 'aria-describedby': hint && `${id}-hint`, ...attributes }),
    h('label', { for: id }, label), hint && h('small', { id: `${id}-hint` }, hint))
}
const select = (attributes, options) => h('select', attributes,
  options.map(([value, text, selected]) => h('option', { value, selected }, text)))

// columns: heading, and what a row shows there. The first names the row. Roles stand here
// because tables become cards on narrow screens, and then browsers forget them.
function table (caption, columns, rows) {
  const cells = (row) => columns.map(([heading, cell], i) => i === 0
    ? h('th', { scope: 'row', role: 'rowheader' }, cell(row))
    : h('td', { role: 'cell', 'data-heading': heading }, cell(row)))
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    h('table', { role: 'table' }, h('caption', { class: 'hidden' }, caption),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' },
        columns.map(([heading]) => h('th', { scope: 'col', role: 'columnheader' }, heading)))),
      h('tbody', { role: 'rowgroup' }, rows.map((row) => h('tr', { role: 'row' }, cells(row))))))
}

// One button that opens the others. A popover is not cut off by what scrolls.
function menu (name, id, items) {
  const list = h('div', { popover: 'auto', id: `${id}-menu`, class: 'menu' },
    items.map(([label, act]) => button(label, () => { list.hidePopover(); act() })))
  return items.length > 0 && [button(['Manage ', hidden(named(name))], null, { id, popovertarget: list.id }), list]
}

// The session has ended, or there was none.
const isSignedOut = ({ status, reason }) => status === 401 && reason !== 'code_refused'

// An error, with what to do about it. What was typed stays where it is.
function explain (problem) {
  if (!(problem instanceof Problem)) console.error(problem)
  return h('div', { role: 'alert', class: 'problem' }, isSignedOut(problem)
    ? [h('p', {}, h('strong', {}, 'You are not signed in any more.')),
        h('p', {}, 'Nothing was changed. ', h('a', { href: '/signin', target: '_blank' }, 'Sign in in another tab'), ', then come back and try again.')]
    : [h('p', {}, h('strong', {}, problem.message)), problem.nextAction && h('p', {}, problem.nextAction)],
  problem.requestId && h('p', {}, h('small', {}, 'Request ', h('code', {}, problem.requestId))))
}

async function copy (element, tell = say) {
  try {
    await navigator.clipboard.writeText(element.textContent)
    tell('Copied.')
  } catch {
    getSelection().selectAllChildren(element)
    tell('Selected. Copy it with the keyboard.')
  }
}

// ---- times -----------------------------------------------------------------------------

const DAY = 86400
const date = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' })
const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium' })
const relative = new Intl.RelativeTimeFormat('en-GB', { numeric: 'auto' })
const UNITS = [['year', 365 * DAY], ['month', 30 * DAY], ['day', DAY], ['hour', 3600], ['minute', 60]]

const now = () => Date.now() / 1000
const secondsOf = (iso) => Date.parse(iso) / 1000

function fromNow (iso) {
  const seconds = secondsOf(iso) - now()
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ['second', 1]
  return relative.format(Math.round(seconds / length), unit)
}
function duration (seconds) {
  const [unit, length] = UNITS.slice(2).find(([, length]) => seconds % length === 0) ?? ['second', 1]
  return count(seconds / length, unit)
}
const time = (iso, text = date.format(new Date(iso))) =>
  h('time', { datetime: iso, title: `${iso.slice(0, 19).replace('T', ' ')} UTC` }, text)
const ago = (iso) => time(iso, fromNow(iso))

// The value of an input of type datetime-local, which is in the zone of the reader.
const localInput = (seconds) => {
  const local = new Date(seconds * 1000)
  return new Date(local - local.getTimezoneOffset() * 60000).toISOString().slice(0, 16)
}
const fromInput = (value) => value && new Date(value).toISOString()

// While it works, a button does nothing more, and keeps the focus.
async function busy (target, work) {
  if (target.ariaDisabled) return
  target.ariaDisabled = 'true'
  await work()
  target.ariaDisabled = null
}

// ---- forms -----------------------------------------------------------------------------

// One form is one change, so it has one idempotency key: sent twice, it happens once.
// change(data, key) sends it; done(answer, data) follows a success. An error leaves the form as it is.
function form ({ label, content, cancel, change, done, danger = false }) {
  const key = crypto.randomUUID()
  const problem = h('div')
  const submit = h('button', { class: danger ? 'danger' : 'primary' }, label)
  const element = h('form', {
    autocomplete: 'off',
    onsubmit (event) {
      event.preventDefault()
      busy(submit, async () => {
        put(problem)
        const data = new FormData(element)
        try {
          done(await change(data, key), data)
        } catch (error) {
          put(problem, explain(error))
        }
      })
    }
  }, content, problem, h('p', { class: 'buttons' }, submit, cancel))
  return element
}

// A form in a dialog. Neither Escape nor a click beside it loses what was typed.
function ask ({ title, done, ...rest }) {
  const id = newId()
  const dialog = h('dialog', { closedby: 'none', 'aria-labelledby': id, oncancel: (event) => event.preventDefault(), onclose: () => dialog.remove() })
  const opener = document.activeElement
  say()
  dialog.append(h('h2', { id }, title), form({
    ...rest,
    cancel: button('Cancel', () => { dialog.close(); opener?.focus() }),
    done (...result) { dialog.close(); opener?.focus(); return done(...result) }
  }))
  document.body.append(dialog)
  dialog.showModal()
}

// When a token expires. The choices are within the maximum of the policy; its default is
// preselected. They are times from now on, so that a form that is sent twice says the same.
// keep: in words, an expiry that may stay.
function expiryField ({ defaultLifetimeSeconds: usual, maxLifetimeSeconds: most }, keep) {
  const opened = now()
  const lengths = [7, 30, 90, 365].map((days) => days * DAY).concat(usual ?? [], most ?? []).filter((seconds) => seconds <= (most ?? Infinity))
  const preselected = !keep && (usual ?? most)
  const until = field('Expiry date', h('input', {
    type: 'datetime-local', name: 'until', min: localInput(opened + 60), max: most && localInput(opened + most)
  }), 'In the time zone of this browser.')
  const show = (shown) => {
    until.hidden = !shown
    until.querySelector('input').required = shown
  }
  show(false)
  return [field('Expires', select({ name: 'expires', onchange: ({ target }) => show(target.value === 'date') }, [
    ...keep ? [['keep', `As before: ${keep}`]] : [],
    ...[...new Set(lengths)].sort((a, b) => a - b).map((seconds) => [
      new Date((opened + seconds - (seconds === most ? 60 : 0)) * 1000).toISOString(),    // clocks differ
      `In ${duration(seconds)}${seconds === usual ? ' (default)' : seconds === most ? ' (maximum)' : ''}`,
      seconds === preselected]),
    ...most === null ? [['never', usual === null ? 'Never (default)' : 'Never', preselected === null]] : [],
    ['date', 'On a date']
  ])), until]
}
// As the API takes it; undefined for what stays.
function expiryOf (data) {
  const value = data.get('expires')
  return value === 'keep' ? undefined : value === 'never' ? null : value === 'date' ? fromInput(data.get('until')) : value
}

// ---- the value of a new token ----------------------------------------------------------

let revealed = null

// Forget the value, wherever the person goes.
function wipe () {
  revealed?.querySelector('#value').replaceChildren()
  revealed?.remove()
  revealed = null
}

function reveal ({ token, name }) {
  wipe()
  const value = h('code', { id: 'value' }, token)
  const save = () => {
    const file = new Blob([`WALWARDEN_API_KEY=${value.textContent}\nWALWARDEN_BASE_URL=${location.origin}${ROOT}\n`], { type: 'text/plain' })
    const href = URL.createObjectURL(file)
    h('a', { href, download: 'walwarden.env' }).click()
    setTimeout(() => URL.revokeObjectURL(href), 1000)
    say('walwarden.env downloaded.')
  }
  const title = h('h2', { id: newId(), tabindex: '-1' }, 'Store the token now')
  revealed = h('section', { class: 'reveal', 'aria-labelledby': title.id }, title,
    h('p', {}, 'This is the value of ', named(name), '. It is shown this one time, and gone when you leave this page.'),
    h('p', {}, value),
    h('p', { class: 'buttons' }, button('Copy', () => copy(value)), button('Download walwarden.env', save)),
    h('details', {}, h('summary', {}, 'Try it with curl'),
      h('pre', { tabindex: '0' }, '. ./walwarden.env\ncurl "$WALWARDEN_BASE_URL/profile" -H "Authorization: Bearer $WALWARDEN_API_KEY"')),
    h('p', { class: 'buttons' }, button('I have stored it', () => {
      wipe()
      say('The value of the token is gone from this page.')
      byId('view').querySelector('h1').focus()
    }, { class: 'primary' })))
  byId('view').querySelector('h1').after(revealed)
  title.focus()
}

addEventListener('pagehide', wipe)
// The browser kept the page as it was; what it shows may not be for whoever came back.
addEventListener('pageshow', (event) => { if (event.persisted) location.reload() })

// ---- where we are ----------------------------------------------------------------------

const VIEWS = [
  [/^\/$/, home],
  [/^\/signin$/, signIn],
  [/^\/o\/([^/]+)$/, (org) => go(startOf(org), { replace: true })],
  [/^\/o\/([^/]+)\/databases$/, databases],
  [/^\/o\/([^/]+)\/settings\/api-tokens$/, tokens],
  [/^\/o\/([^/]+)\/settings\/api-tokens\/new$/, issue],
  [/^\/o\/([^/]+)\/members$/, members],
  [/^\/o\/([^/]+)\/audit$/, audit]
]

const carries = (org, scope) => org.scopes.some(({ name, carried }) => name === scope && carried)
const can = (org, capability) => org.capabilities.includes(capability)

// The pages of an organisation, and whom they are for.
const PAGES = [
  ['databases', 'Databases', (org) => carries(org, 'databases:read')],
  ['settings/api-tokens', 'API tokens', () => true],
  ['members', 'Members', (org) => can(org, 'manage_members')],
  ['audit', 'Audit', (org) => carries(org, 'audit:read')]
]
const pathOf = (org, page) => `/o/${org.slug}/${page}`
const startOf = (org) => pathOf(org, PAGES.find(([, , mayUse]) => mayUse(org))[0])
const apiOf = (org, path) => `/orgs/${org.slug}${path}`

let shown            // the path of the view
let moves = false    // its heading takes the focus; the browser places it for the first view
let again = () => {} // reads what the view shows once more

function go (path, { replace = false, issued } = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', path)
  return show(issued)
}

// Show a view under its heading, which takes the focus at once: later it would take it from
// whoever went on. The value of a new token comes before its content, and keeps the focus.
function render (title, org, ...content) {
  document.title = [title, org?.name, 'walwarden'].filter(Boolean).join(' - ')
  const heading = h('h1', { tabindex: '-1' }, title)
  const { activeElement } = document
  put(byId('view'), heading, revealed, content)
  if (revealed?.contains(activeElement)) activeElement.focus()
  else if (moves) (revealed?.querySelector('h2') ?? heading).focus()
}

async function show (issued) {
  leaving.abort()
  leaving = new AbortController()
  const { signal } = leaving
  moves = shown !== undefined
  shown = location.pathname
  again = () => {}
  wipe()
  say()
  document.querySelectorAll('dialog').forEach((dialog) => dialog.close())
  if (issued) reveal(issued)

  const [pattern, view] = VIEWS.find(([pattern]) => pattern.test(shown)) ?? [/./, missing]
  const slug = pattern.exec(shown)[1]
  try {
    const [me, org] = view === signIn ? [] : await Promise.all([get('/orgs'), slug && get(`/orgs/${slug}`)])
    frame(me, org)
    await view(org ?? me, me)
  } catch (error) {
    if (signal.aborted) return
    if (isSignedOut(error)) {
      frame()
      render('Sign in', null, error.reason === 'session_refused' && h('p', {}, 'Your session has ended.'), waysIn())
    } else render('This does not work', null, explain(error))
  }
}

function missing () {
  render('There is no such page', null, h('p', {}, h('a', { href: '/' }, 'Start again')))
}

// The links above the view.
function frame (me, org) {
  put(byId('pages'), org && PAGES.filter(([, , mayUse]) => mayUse(org)).map(([page, label]) =>
    h('a', { href: pathOf(org, page), 'aria-current': shown.startsWith(pathOf(org, page)) && 'page' }, label)))
  put(byId('person'), me && [
    org && (me.orgs.length === 1 ? named(org.name) : h('a', { href: '/' }, hidden('Change the organisation, now '), named(org.name))),
    named(me.subject), button('Sign out', signOut)])
}

async function signOut () {
  try {
    await send('DELETE', '/session')
    location.replace('/signin')
  } catch (error) {
    say(explain(error))
  }
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a:not([target])')
  if (!link || !VIEWS.some(([pattern]) => pattern.test(link.getAttribute('href'))) || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return
  event.preventDefault()
  go(link.getAttribute('href'))
})
// A fragment alone leads nowhere, but as the code of a link.
addEventListener('popstate', () => { if (location.pathname !== shown || (shown === '/signin' && location.hash)) show() })

// Whoever was on a button stays on it while what is around it is drawn anew, or goes to the
// heading if it is gone.
async function keepFocus (work) {
  const { id } = document.activeElement
  await work()
  if (document.activeElement === document.body) (byId(id) ?? byId('view').querySelector('h1')).focus()
}
const reload = () => keepFocus(again)

// A list in pages of the API. load() reads as much as is shown once more, or a page more, and
// returns how much is shown then; nothing if it fails, or another call took its place.
function list ({ path, list: name, filters = () => ({}), draw, empty }) {
  const element = h('div')
  const view = leaving
  let items = []
  let cursor
  let latest = 0
  const load = async (more = false) => {
    const turn = ++latest
    const found = more ? [...items] : []
    const wanted = more ? items.length + 1 : Math.max(items.length, 1)
    let next = more ? cursor : undefined
    try {
      do {
        const page = await get(path, { ...filters(), limit: PAGE_SIZE, cursor: next }, view)
        found.push(...page[name])
        next = page.pageInfo.nextCursor
      } while (next && found.length < wanted)
      const content = found.length ? await draw(found) : h('p', { class: 'empty' }, empty())
      if (turn !== latest) return
      items = found
      cursor = next
      put(element, content, next && h('p', {}, button('More', () => keepFocus(() => load(true)), { id: `${name}-more` })))
      return items.length
    } catch (error) {
      if (error.name !== 'AbortError') put(element, explain(error))
    }
  }
  again = load
  return { element, load }
}

// Filters above a list; a change applies at once.
function filterForm (load, ...fields) {
  let timer
  const apply = async () => {
    const shown = await load()
    if (shown !== undefined) say(`Shown: ${shown}`)
  }
  return h('form', {
    role: 'search',
    class: 'filters',
    onsubmit: (event) => { event.preventDefault(); apply() },
    oninput () { clearTimeout(timer); timer = setTimeout(apply, 250) }
  }, fields)
}

// ---- signing in ------------------------------------------------------------------------

// Single sign-on is offered where it is set up, which its address tells.
function waysIn () {
  const sso = h('p', { hidden: true }, h('a', { href: '/signin/sso', class: 'primary' }, 'Single sign-on'))
  fetch('/signin/sso', { method: 'HEAD', redirect: 'manual' }).then(({ status }) => { sso.hidden = status === 404 }, () => {})
  return [sso, h('p', {}, 'Open the link that an operator gave you. It works once, for 10 minutes. If you have none, ask for one.')]
}

// Why single sign-on has failed, as nginx says in the address; of other reasons only the name.
const REFUSALS = new Map([
  ['not_a_member', 'You are no active member, or single sign-on is not enabled for you. Ask an owner or admin of your organisation.'],
  ['jwt_used', 'This sign-in was used before. Try again.'],
  ['jwt_refused', 'The identity provider did not confirm who you are. Try again.'],
  ['cross_site', 'The sign-in did not begin on this page, or took longer than 10 minutes. Try again.']
])
const refusal = () => {
  const reason = new URLSearchParams(location.search).get('reason')
  // the address may be anybody's
  return /^[a-z_]{1,40}$/.test(reason ?? '') && h('div', { role: 'alert', class: 'problem' }, h('p', {}, h('strong', {}, 'You are not signed in.')),
    h('p', {}, REFUSALS.get(reason) ?? 'Single sign-on does not work at the moment. Tell whoever runs this server.'), h('p', {}, h('small', {}, 'Reason ', h('code', {}, reason))))
}

// The code stands behind #, so that it is in no request. The button uses it up, because programs
// that open the links of messages press none.
function signIn () {
  const code = location.hash.slice(1)
  if (!code) return render('Sign in', null, refusal(), waysIn())
  history.replaceState(null, '', '/signin')
  const element = form({
    label: 'Sign in',
    content: h('p', {}, 'The link that you opened signs you in, this one time.'),
    change: () => send('POST', '/session', { code }),
    done: () => go('/', { replace: true })
  })
  render('Sign in', null, element)
}

async function home (me) {
  if (me.orgs.length === 1) return go(`/o/${me.orgs[0].slug}`, { replace: true })
  render('Organisations', null, h('ul', {}, me.orgs.map(({ slug, name, role, plan }) =>
    h('li', {}, h('a', { href: `/o/${slug}` }, named(name)), ` ${role}, plan ${plan}`))))
}

// ---- tokens ----------------------------------------------------------------------------

// Whose a token is, for the person: the rights differ.
const targetOf = (token, me) => token.visibility === 'shared' ? 'shared' : token.owner === me.subject ? 'own' : 'private'

// What can be done with a token: in which states, and with which capability by whose it is.
// effect: what will stop working. A plan without tokens leaves only what stops them.
const TOKEN_ACTIONS = [
  {
    label: 'Renew',
    states: ['active'],
    may: { own: 'own_tokens', shared: 'manage_tokens' },
    needsPlan: true,
    effect: () => 'The token gets a new value, and the present one stops working: at once, or after an overlap in which both work.',
    fields: () => field('The present value works for', select({ name: 'overlap' },
      [['0', 'no longer'], ['3600', '1 hour'], ['86400', '1 day'], ['604800', '7 days']])),
    body: (data) => ({ overlapSeconds: Number(data.get('overlap')) }),
    path: 'renew'
  },
  {
    label: 'End overlap',
    states: ['active', 'disabled', 'expired'],
    fits: (token) => token.overlapUntil !== null,
    may: { own: 'own_tokens', shared: 'manage_tokens' },
    effect: (token) => ['The previous value (', h('code', {}, token.previousHandle), ') stops working now, instead of ', time(token.overlapUntil), '. It was last used ',
      token.previousLastUsedAt ? ago(token.previousLastUsedAt) : 'never', '.'],
    path: 'end-overlap',
    result: 'The overlap has ended: '
  },
  {
    label: 'Disable',
    states: ['active', 'inactive'],
    may: { own: 'member', private: 'manage_tokens', shared: 'manage_tokens' },
    effect: () => 'Every request with this token fails from now on, until somebody enables it. If it stays disabled, it is removed after a while.',
    fields: () => field('Reason (optional)', h('input', { name: 'reason', maxlength: 500 }), 'It is kept in the audit chain.'),
    body: (data) => ({ reason: data.get('reason') || undefined }),
    path: 'disable',
    result: 'Disabled: '
  },
  {
    label: 'Enable',
    states: ['disabled', 'expired'],
    may: { own: 'own_tokens', private: 'manage_tokens', shared: 'manage_tokens' },
    fits: (token, target) => target !== 'private' || token.state === 'disabled',
    needsPlan: true,
    effect: () => 'The token works again, with the value that it had.',
    fields: (token, org, target) => {
      const { state, expiresAt } = token
      return target !== 'private' && expiryField(org.policy, state !== 'expired' && (expiresAt ? date.format(new Date(expiresAt)) : 'never'))
    },
    body: (data) => ({ expiresAt: data.has('expires') ? expiryOf(data) : undefined }),
    path: 'enable',
    result: 'Enabled: '
  },
  {
    label: 'Revoke',
    danger: true,
    states: ['active', 'inactive', 'disabled', 'expired'],
    may: { own: 'member', private: 'manage_tokens', shared: 'manage_tokens' },
    effect: () => 'Every request with this token fails from now on, for good. What uses it needs another token.',
    fields: (token, org, target) => [
      target === 'shared' && confirmation(token.name, 'token'),
      field('Reason (optional)', h('input', { name: 'reason', maxlength: 500 }), 'It is kept in the audit chain.')
    ],
    body: (data) => ({ reason: data.get('reason') || undefined }),
    path: 'revoke',
    result: 'Revoked: '
  }
]

// The name of what will be gone, to be typed.
function confirmation (name, what) {
  const check = ({ target }) => target.setCustomValidity(target.value === name ? '' : `This is not the name of the ${what}.`)
  const input = h('input', { required: true, oninput: check })
  return field(['Type the name ', named(name), ' to confirm'], input)
}

function tokenMenu (token, org, me) {
  const target = targetOf(token, me)
  const actions = TOKEN_ACTIONS.filter(({ states, may, needsPlan, fits }) => states.includes(token.state) &&
    can(org, may[target]) && (org.apiTokens || !needsPlan) && (!fits || fits(token, target)))
  return menu(token.name, `manage-${token.tokenId}`, actions.map((action) => [action.label, () => ask({
    title: [`${action.label}: `, named(token.name)],
    label: action.label,
    danger: action.danger,
    content: [h('p', {}, action.effect(token)), h('p', {}, 'Last used: ', lastUse(token), token.lastUsedFrom && ` from ${token.lastUsedFrom}`, '.'), action.fields?.(token, org, target)],
    change: (data, key) => send('POST', apiOf(org, `/tokens/${token.tokenId}/${action.path}`), action.body?.(data), key),
    done (answer) {
      say(action.result, action.result && named(token.name))
      if (answer.token) reveal(answer)
      reload()
    }
  })]))
}

// The scopes as issued; those that an active token does not hold now are marked.
function permissions ({ state, kind, role, scopes, effectiveScopes, networks }) {
  const list = role ? effectiveScopes : scopes
  return [
    kind === 'node' ? 'runs jobs' : kind === 'legacy' ? 'all, as a legacy credential' : h('details', {},
      h('summary', {}, role ? ['role ', named(role)] : count(list.length, 'scope')),
      h('ul', {}, list.map((scope) => h('li', {}, h('code', {}, scope), state === 'active' && !effectiveScopes.includes(scope) && ' (not now)')))),
    networks.length > 0 && h('small', {}, 'from ', networks.join(', '))
  ]
}

const endOf = (token) => ({
  disabled: () => [ago(token.disabledAt), token.disabledReason && [': ', named(token.disabledReason)]],
  revoked: () => [ago(token.revokedAt), ' by ', named(token.revokedBy), token.revokedReason && [': ', named(token.revokedReason)]]
})[token.state]?.()

// Without a count, reads leave no trace, and nothing is known of them.
const lastUse = ({ lastUsedAt, uses }) => lastUsedAt ? ago(lastUsedAt) : uses === null ? 'not recorded' : 'never'

const tokenColumns = (org, me) => [
  ['Token', (t) => [named(t.name), h('small', {}, h('code', {}, t.fingerprintHandle))]],
  ['Permissions', permissions],
  ['State', (t) => [dot(t.state), h('small', {}, endOf(t))]],
  ['Owner', (t) => t.owner === null ? 'shared' : named(t.owner)],
  ['Created', (t) => [time(t.createdAt, day.format(new Date(t.createdAt))), h('small', {}, 'by ', named(t.createdBy))]],
  ['Last used', lastUse],
  ['Expires', (t) => t.expiresAt ? ago(t.expiresAt) : 'never'],
  ['Labels', (t) => Object.entries(t.labels).map(([name, value]) => h('span', { class: 'label' }, named(`${name}=${value}`)))],
  ['Manage', (t) => tokenMenu(t, org, me)]
]

const noPlan = (org) => h('p', { class: 'note' }, `API tokens are part of the Team plan. The plan of this organisation is ${org.plan}: no token works, and those that are there can only be disabled and revoked.`)
const mayIssue = (org) => org.apiTokens && (can(org, 'own_tokens') || can(org, 'manage_tokens'))

async function tokens (org, me) {
  const state = select({ name: 'state' }, [['', 'All'], ...['active', 'inactive', 'disabled', 'expired', 'revoked'].map((name) => [name, name])])
  const name = h('input', { type: 'search', name: 'name', maxlength: 100 })
  const newPath = pathOf(org, 'settings/api-tokens/new')
  const { element, load } = list({
    path: apiOf(org, '/tokens'),
    list: 'tokens',
    filters: () => ({ state: state.value, name: name.value }),
    draw: (items) => table('API tokens', tokenColumns(org, me), items),
    empty: () => state.value || name.value
      ? 'No token fits. Change the filters.'
      : mayIssue(org) ? ['There are no tokens yet. ', h('a', { href: newPath }, 'Issue the first one'), ' for a program that uses the API.'] : 'There are no tokens.'
  })
  render('API tokens', org,
    !org.apiTokens && noPlan(org),
    !can(org, 'manage_tokens') && h('p', {}, 'These are your own tokens. Owners and admins see all.'),
    mayIssue(org) && h('p', {}, h('a', { href: newPath, class: 'primary' }, 'Issue a token')),
    filterForm(load, field('State', state), field('Name contains', name)),
    element)
  await load()
}

// ---- issuing a token -------------------------------------------------------------------

async function issue (org) {
  const back = pathOf(org, 'settings/api-tokens')
  if (!mayIssue(org)) {
    return render('Issue a token', org, org.apiTokens ? h('p', { class: 'note' }, `The role ${org.role} has no tokens. Ask an owner or admin.`) : noPlan(org))
  }
  const manages = can(org, 'manage_tokens')
  const visibilities = [
    ['own_tokens', 'private', 'Private', 'Yours. It stops working when you are no member any more.'],
    ['manage_tokens', 'shared', 'Shared', 'Of the organisation. Owners and admins manage it.']
  ].filter(([capability]) => can(org, capability))
  const scopes = group('Scopes', org.scopes.filter(({ carried }) => carried).map(({ name, label, description }) =>
    choice('checkbox', { name: 'scopes', value: name }, label, [description, ' ', h('code', {}, name)])))
  const role = field('Role', select({ name: 'role' }, org.roles.map(({ name, description }) => [name, `${name}: ${description}`])),
    'The token holds what the role carries, also when that changes.')
  const fromRole = (data) => data.get('permissions') === 'role'
  const networksOf = (data) => data.get('networks').split(/[\s,]+/).filter(Boolean)
  const summary = h('p', { id: 'summary' })

  const update = () => {
    const data = new FormData(element)
    scopes.hidden = fromRole(data)
    role.hidden = !fromRole(data)
    const expires = expiryOf(data)
    const networks = networksOf(data)
    put(summary, 'A ', data.get('visibility'), ' token ', named(data.get('name')),
      fromRole(data) ? ` with the permissions of the role ${data.get('role')}` : ` with ${count(data.getAll('scopes').length, 'scope')}`,
      expires === null ? ' that never expires' : expires && [' that expires on ', time(expires)],
      networks.length ? `, from ${networks.join(', ')} only.` : ', from every address.')
  }
  const element = form({
    label: 'Issue token',
    content: [
      field('Name', h('input', { name: 'name', required: true, maxlength: 100 }), 'What the token is for, such as the program that uses it.'),
      group('Who has it', visibilities.map(([, value, label, hint], i) => choice('radio', { name: 'visibility', value, checked: i === 0 }, label, hint))),
      manages && group('Permissions',
        choice('radio', { name: 'permissions', value: 'scopes', checked: true }, 'Choose scopes'),
        choice('radio', { name: 'permissions', value: 'role' }, 'From a role')),
      scopes, role,
      expiryField(org.policy),
      field('Networks', h('textarea', { name: 'networks', rows: 2 }), 'From where it works, such as 192.0.2.0/24; one a line. Empty: from everywhere.'),
      group('Summary', summary)
    ],
    cancel: h('a', { href: back }, 'Cancel'),
    change: (data, key) => send('POST', apiOf(org, '/tokens'), {
      name: data.get('name'),
      visibility: data.get('visibility'),
      ...fromRole(data) ? { role: data.get('role') } : { scopes: data.getAll('scopes') },
      expiresAt: expiryOf(data),
      networks: networksOf(data)
    }, key),
    // going back does not find the form again
    done: (issued) => go(back, { replace: true, issued })
  })
  element.addEventListener('input', update)
  update()
  render('Issue a token', org, element)
}

// ---- members ---------------------------------------------------------------------------

const roleField = (org, role) => field('Role', select({ name: 'role' }, org.roles
  .filter(({ name }) => name !== 'owner' || can(org, 'manage_owners'))
  .map(({ name, description }) => [name, `${name}: ${description}`, name === role])))

const MEMBER_ACTIONS = [
  {
    label: 'Change role',
    effect: () => 'The new role decides on the next request what the member may do, and what their private tokens hold.',
    fields: (member, org) => roleField(org, member.role),
    body: (data) => ({ role: data.get('role') })
  },
  {
    label: 'Single sign-on',
    effect: ({ sso }) => sso ? 'The member will count as one who signs in without single sign-on.' : 'The legacy credentials of the member stop working, for good.',
    body: (data, member) => ({ sso: !member.sso })
  },
  {
    label: 'Disable',
    fits: ({ state }) => state === 'active',
    effect: () => 'The member cannot use this organisation, and their private tokens stop working, until somebody enables them.',
    body: () => ({ disabled: true })
  },
  {
    label: 'Enable',
    fits: ({ state }) => state === 'disabled',
    effect: () => 'The member can sign in again, and their private tokens work again.',
    body: () => ({ disabled: false })
  },
  {
    label: 'Remove',
    danger: true,
    method: 'DELETE',
    effect: () => 'The member is removed, and their private tokens are revoked, for good.',
    fields: ({ subject }) => confirmation(subject, 'member')
  }
]

function memberMenu (member, org) {
  if (member.role === 'owner' && !can(org, 'manage_owners')) return false
  const actions = MEMBER_ACTIONS.filter(({ fits }) => !fits || fits(member))
  return menu(member.subject, `manage-${member.memberId}`, actions.map(({ label, danger, effect, fields, method = 'PATCH', body }) => [label, () => ask({
    title: [`${label}: `, named(member.subject)],
    label,
    danger,
    content: [h('p', {}, effect(member)), fields?.(member, org)],
    change: (data, key) => send(method, apiOf(org, `/members/${member.memberId}`), body?.(data, member), key),
    async done () {
      // somebody may have changed what they may do themselves
      await (member.memberId === org.memberId ? show() : reload())
      say(`${label}: done for `, named(member.subject))
    }
  })]))
}

const memberColumns = (org) => [
  ['Member', ({ subject, memberId }) => [named(subject), memberId === org.memberId && h('small', {}, 'you')]],
  ['Role', ({ role }) => role],
  ['State', ({ state, disabledAt }) => [dot(state), disabledAt && h('small', {}, ago(disabledAt))]],
  ['Single sign-on', ({ sso }) => sso ? 'yes' : 'no'],
  ['Member since', ({ createdAt }) => time(createdAt, day.format(new Date(createdAt)))],
  ['Manage', (member) => memberMenu(member, org)]
]

async function members (org) {
  if (!can(org, 'manage_members')) {
    return render('Members', org, h('p', { class: 'note' }, 'Owners and admins see and manage the members.'))
  }
  const { element, load } = list({
    path: apiOf(org, '/members'),
    list: 'members',
    draw: (items) => table('Members', memberColumns(org), items),
    empty: () => 'There are no members.'
  })
  const add = () => ask({
    title: 'Add a member',
    label: 'Add',
    content: [
      field('Subject', h('input', { name: 'subject', required: true, maxlength: 255 }), 'The identity of the person, exactly as they sign in with it, such as an e-mail address.'),
      roleField(org, 'member')
    ],
    change: (data, key) => send('POST', apiOf(org, '/members'), { subject: data.get('subject'), role: data.get('role') }, key),
    done ({ subject }) { say('Added: ', named(subject)); reload() }
  })
  render('Members', org, h('p', {}, button('Add a member', add, { class: 'primary', id: 'add' })), element)
  await load()
}

// ---- the audit chain -------------------------------------------------------------------

const encoder = new TextEncoder()
const sha256 = async (text) => Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', encoder.encode(text))),
  (byte) => byte.toString(16).padStart(2, '0')).join('')

// RFC 8785: JSON of JavaScript, with sorted members and no space.
const canonical = (value) => Array.isArray(value)
  ? `[${value.map(canonical)}]`
  : value instanceof Object
    ? `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)}}`
    : JSON.stringify(value)

// What is wrong with an entry, as docs/audit-chain.md defines the chain.
async function faultOf (entry, previous, org) {
  if (entry.seq !== previous.seq + 1) return `the entry after ${previous.seq} is missing`
  if (entry.prevHash !== previous.hash) return 'it does not continue the entry before it'
  if (entry.hash !== await sha256(entry.prevHash + entry.body)) return 'its hash is not that of its text'
  try {
    const body = JSON.parse(entry.body)
    if (canonical(body) !== entry.body) return 'its text is not in the canonical form'
    const { at, jobId, kind, payload, ...more } = body
    if (Object.keys(more).length || at !== entry.at || jobId !== entry.jobId || kind !== entry.kind ||
        payload.org !== org.id || payload.seq !== entry.seq) return 'its text is about another entry'
  } catch {
    return 'its text has another form'
  }
  return null
}

// Reads the whole chain. Returns the last good entry, and what is wrong with the next one.
async function verifyChain (org, progress) {
  let head = { seq: 0, hash: await sha256(`walwarden/audit/v2:${org.id}`) }
  for await (const page of pagesOf(apiOf(org, '/audit/entries'), 'entries')) {
    const faults = await Promise.all(page.map((entry, i) => faultOf(entry, page[i - 1] ?? head, org)))
    const bad = faults.findIndex(Boolean)
    if (bad >= 0) return { head: page[bad - 1] ?? head, fault: faults[bad] }
    head = page.at(-1) ?? head
    progress(head.seq)
  }
  return { head, fault: null }
}

function sayVerdict (who, ok, text, hash) {
  const code = h('code', {}, hash)
  const copied = h('small')
  say(ok ? dot('intact', 'active') : dot('broken', 'failed'), `, says ${who}: `, text, '. Head hash: ', code, ' ',
    button('Copy head hash', () => copy(code, (text) => put(copied, ' ', text))), copied)
}

const ENTRY_FILTERS = [
  ['Kind', 'kind', { type: 'search', maxlength: 100 }, 'Such as token.issued, or token. for all that begin so.'],
  ['Actor', 'actor', { type: 'search', maxlength: 255 }, 'A subject, an id, or system.'],
  ['Object', 'object', { type: 'search', maxlength: 200 }, 'A type and an id: token:0b6f...'],
  ['Since', 'since', { type: 'datetime-local' }],
  ['Until', 'until', { type: 'datetime-local' }]
]

function actorOf ({ kind, memberId, tokenId, login, role }, names) {
  const who = names.get(memberId) ?? memberId ?? tokenId ?? login ?? role
  return [who ? named(who) : kind, who && h('small', {}, kind)]
}

function objectOf ({ object, before, after, data }, names) {
  if (!object) return data ? 'of an application' : ''
  const name = names.get(object.id) ?? after?.name ?? before?.name ?? after?.slug ?? object.id
  return [named(name), h('small', {}, object.type)]
}

const entryColumns = (names) => [
  ['Entry', ({ seq }) => String(seq)],
  ['Time', ({ at }) => time(at)],
  ['Kind', ({ kind }) => h('code', {}, kind)],
  ['Actor', ({ payload }) => actorOf(payload.actor ?? {}, names)],
  ['Object', ({ payload }) => objectOf(payload, names)],
  ['Content', ({ payload, hash }) => h('details', {}, h('summary', {}, 'Show'),
    h('pre', { tabindex: '0' }, JSON.stringify(payload, null, 2)), h('small', {}, 'hash ', h('code', {}, hash)))]
]

async function audit (org) {
  if (!carries(org, 'audit:read')) {
    return render('Audit', org, h('p', { class: 'note' }, `The role ${org.role} does not read the audit chain.`))
  }
  const fields = ENTRY_FILTERS.map(([label, name, attributes, hint]) => [label, h('input', { name, ...attributes }), hint])
  const { element, load } = list({
    path: apiOf(org, '/audit/entries'),
    list: 'entries',
    filters: () => ({
      order: 'newest',
      ...Object.fromEntries(fields.map(([, { name, type, value }]) => [name, type === 'search' ? value : fromInput(value)]))
    }),
    draw: (entries) => table('Audit entries', entryColumns(names), entries.map((entry) => ({ ...entry, ...JSON.parse(entry.body) }))),
    empty: () => 'No entry fits. Change the filters.'
  })
  const { signal } = leaving
  const verdict = (who, verify) => ({ target }) => busy(target, async () => {
    try {
      const { ok, text, hash } = await verify()
      if (!signal.aborted) sayVerdict(who, ok, text, hash)
    } catch (error) {
      if (!signal.aborted) say(explain(error))
    }
  })
  const entries = (n) => `${count(n, 'entry', 'entries')} verified`
  const onServer = async () => {
    say('The server is verifying the chain ...')
    const answer = await send('POST', apiOf(org, '/audit/verifications'), {}, crypto.randomUUID())
    return { ok: answer.ok, text: answer.ok ? entries(answer.entries) : [answer.reason, answer.firstBadSeq && ` (entry ${answer.firstBadSeq})`], hash: answer.headHash }
  }
  const here = async () => {
    const { head, fault } = await verifyChain(org, (seq) => say(`${entries(seq)} ...`))
    return { ok: !fault, text: fault ? `entry ${head.seq + 1}: ${fault}. Everything before it is intact` : entries(head.seq), hash: head.hash }
  }
  const names = new Map(can(org, 'manage_members') ? (await all(apiOf(org, '/members'), 'members')).map(({ memberId, subject }) => [memberId, subject]) : [])
  render('Audit', org,
    h('p', { class: 'buttons' },
      can(org, 'read_audit') && button('Verify on the server', verdict('the server', onServer), { id: 'verify-server' }),
      button('Verify in this browser', verdict('this browser', here), { id: 'verify-here' })),
    h('p', {}, h('small', {}, 'The server also compares the chain with the tables. This browser computes every hash of the chain itself. Keep the head hash elsewhere: a later chain must contain it.')),
    filterForm(load, fields.map((parts) => field(...parts))),
    element)
  await load()
}

// ---- databases -------------------------------------------------------------------------

const DAYS = 30
// Of the reader's calendar: 2026-11-29.
const dayKey = (date) => date.toLocaleDateString('en-CA')

// What can happen on a day, and how it is called.
const FACTS = [
  ['verified', 'verified backup'],
  ['unverified', 'unverified backup'],
  ['failed', 'failed backup'],
  ['drills', 'drill'],
  ['failedDrills', 'failed drill']
]

function daysOf (backups, drills, evidence) {
  const today = new Date()
  const days = new Map(Array.from({ length: DAYS }, (_, i) =>
    [dayKey(new Date(today.getFullYear(), today.getMonth(), today.getDate() - DAYS + 1 + i)), {}]))
  const add = (iso, fact) => {
    const facts = iso && days.get(dayKey(new Date(iso)))
    if (facts) facts[fact] = (facts[fact] ?? 0) + 1
  }
  for (const { id, state, finishedAt } of backups) {
    const verdict = evidence.get(id)
    if (state === 'failed' || state === 'dismissed' || verdict === 'failed') add(finishedAt, 'failed')
    else if (state === 'completed' || state === 'expired') add(finishedAt, verdict === 'verified' ? 'verified' : 'unverified')
  }
  for (const { state, timings } of drills) add(timings.finishedAt, state === 'completed' ? 'drills' : 'failedDrills')
  return days
}

const inWords = (facts) => FACTS.filter(([fact]) => facts[fact]).map(([fact, noun]) => count(facts[fact], noun)).join(', ')

// A bar a day: high and full if a backup is verified, high and empty if none is, low if one failed;
// a ring or, if a drill failed, a cross above it. The same follows in words.
function strip (days) {
  const total = {}
  for (const facts of days.values()) for (const fact in facts) total[fact] = (total[fact] ?? 0) + facts[fact]
  const words = inWords(total)
  const dated = (key, facts) => `${day.format(new Date(`${key}T12:00`))}: ${inWords(facts) || 'nothing'}`
  return [
    svg('svg', { viewBox: `0 0 ${DAYS * 8} 32`, class: 'strip', role: 'img', 'aria-label': `The last ${DAYS} days: ${words || 'nothing'}` },
      [...days].map(([key, facts], i) => svg('g', { transform: `translate(${i * 8})` },
        svg('title', {}, dated(key, facts)),
        svg('rect', { class: 'none', width: 7, height: 32 }),
        facts.verified ? svg('rect', { class: 'verified', x: 1, y: 10, width: 5, height: 22 })
          : facts.unverified && svg('rect', { class: 'unverified', x: 1.5, y: 10.5, width: 4, height: 21 }),
        facts.failed && svg('rect', { class: 'failed', x: 1, y: 24, width: 5, height: 8 }),
        facts.failedDrills ? svg('path', { class: 'failed drill', d: 'M1.5 2.5l4 4m0-4l-4 4' })
          : facts.drills && svg('circle', { class: 'drill', cx: 3.5, cy: 4.5, r: 2 })))),
    words && h('details', {}, h('summary', {}, h('small', {}, words)),
      h('ul', {}, [...days].filter(([, facts]) => inWords(facts)).reverse().map((one) => h('li', {}, dated(...one)))))
  ]
}

// A job that runs, with its progress.
function progress ({ state, progress }) {
  const { percent, phase } = progress ?? {}
  return [dot(state, 'busy'), phase && [': ', named(phase)], h('progress', { max: 100, value: percent, 'aria-label': 'Progress' }), percent != null && h('small', {}, `${percent} %`)]
}

// active: receives the jobs that have not finished, with the elements that show them.
function databaseColumns (org, sees, active) {
  const running = (path, job) => {
    const element = h('span', { class: 'running' }, progress(job))
    active.push({ path: apiOf(org, `/${path}/${job.id}`), element })
    return element
  }
  const ended = (state, iso) => [dot(state), h('small', {}, ago(iso))]
  return [
    ['Database', ({ name, state }) => [named(name), h('small', {}, dot(state))]],
    ['Last backup', ({ lastBackup: last, backup }) => backup ? running('backups', backup) : last ? ended(last.state, last.finishedAt ?? last.queuedAt) : 'none yet'],
    ['Recovery', ({ readiness: { verdict, recoverableTo, rpoMet } }) => [dot(verdict),
      h('small', {}, recoverableTo ? ['up to ', ago(recoverableTo), rpoMet === false && ', older than the objective allows'] : 'no verified backup')]],
    ['Next backup', ({ nextBackupAt }) => nextBackupAt ? ago(nextBackupAt) : 'no schedule'],
    ['Drill', ({ drills: [last], nextDrillAt }) => [
      sees.restores && (!last ? 'none yet' : last.done ? ended(last.state, last.timings.finishedAt ?? last.timings.queuedAt) : running('restores', last)),
      h('small', {}, nextDrillAt ? ['next ', ago(nextDrillAt)] : 'no schedule')]],
    [`Last ${DAYS} days`, ({ days }) => strip(days)]
  ]
}

// Reads the jobs that run every few seconds, and everything once a minute or when one has
// finished, unless somebody is reading what has been opened.
async function follow (active, view) {
  for (let round = 1; ; round++) {
    await pause(3)
    if (view.signal.aborted) return
    if (document.hidden) continue
    try {
      const running = [...active]
      const jobs = await Promise.all(running.map(({ path }) => get(path, {}, view)))
      jobs.forEach((job, i) => put(running[i].element, progress(job)))
      if ((jobs.some(({ done }) => done) || round % 20 === 0) && !byId('view').querySelector('details[open]')) await reload()
    } catch (error) {
      if (isSignedOut(error)) return say(explain(error))
    }
  }
}

async function databases (org) {
  if (!carries(org, 'databases:read')) {
    return render('Databases', org, h('p', { class: 'note' }, `The role ${org.role} does not see the databases.`))
  }
  const view = leaving
  const sees = { evidence: carries(org, 'evidence:read'), restores: carries(org, 'restores:read') }
  const begin = now() - DAYS * DAY
  const before = (time) => (page) => page.length > 0 && secondsOf(time(page.at(-1))) < begin
  const active = []

  const draw = async (items) => {
    const [evidence, restores] = await Promise.all([
      sees.evidence ? all(apiOf(org, '/evidence'), 'evidence', before(({ recordedAt }) => recordedAt)) : [],
      sees.restores ? all(apiOf(org, '/restores'), 'restores', before(({ timings }) => timings.queuedAt)) : []
    ])
    const verdicts = new Map(evidence.map(({ backupJobId, state }) => [backupJobId, state]))
    const rows = []
    for (let i = 0; i < items.length; i += 4) {     // a few at a time: the server limits the rate
      rows.push(...await Promise.all(items.slice(i, i + 4).map(async (database) => {
        const backups = await all(apiOf(org, `/databases/${database.id}/backups`), 'backups', before(({ queuedAt }) => queuedAt))
        const drills = restores.filter(({ kind, databaseId }) => kind === 'drill' && databaseId === database.id)
        return { ...database, drills, backup: backups.find(({ done }) => !done), days: daysOf(backups, drills, verdicts) }
      })))
    }
    active.length = 0
    return table('Databases', databaseColumns(org, sees, active), rows)
  }
  const { element, load } = list({
    path: apiOf(org, '/databases'),
    list: 'databases',
    draw,
    empty: () => ['No database is protected yet. A program adds one with ', h('code', {}, 'POST /databases'), ' and a token that has the scope ', h('code', {}, 'databases:write'), '.']
  })
  render('Databases', org, element,
    h('p', {}, h('small', {}, 'A bar a day: high if a backup is verified, an outline if it is not, low if one failed; above it a ring for a drill, a cross for a failed one. ',
      !sees.evidence && 'Your role does not see what is verified. ', !sees.restores && 'Your role does not see drills.')))
  await load()
  follow(active, view)
}

show()
