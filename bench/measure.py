"""Measures, one part a call, and prints the table: see bench/README.md.

    measure.py authorize|cold|rls|rest|audit|verify|scale   append rows to $WORK/bench.jsonl
    measure.py table                                        print them

Called by bench/run, which has made the databases and set the environment.
"""
import glob
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid

WORK = os.environ['WORK']
SMALL = os.environ['SCALE'] == 'small'
TOKENS, COLD, LARGE = (int(os.environ[n]) for n in ('TOKENS', 'COLD', 'LARGE'))
OVERDUE = int(os.environ['OVERDUE'])
SCOPE = 'databases:read'


def run(*argv, **environment):
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    if done.returncode != 0:
        sys.exit(f'{argv[0]} failed')
    return done.stdout


def psql(db, *statements):
    """Runs statements in one session; their rows, as lists of strings."""
    out = run('psql', '-XqAt', '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-d', db, *(x for s in statements for x in ('-c', s)))
    return [line.split('\t') for line in out.splitlines()]


def row(what, ours, other, ratios, target=None, most=False, note=''):
    """ratios: one a round. target None: for information. most: the ratio is to be at most the target."""
    with open(f'{WORK}/bench.jsonl', 'a') as f:
        f.write(json.dumps(dict(what=what, ours=ours, other=other, ratios=ratios, target=target, most=most, note=note)) + '\n')


def slices(db, processors, variants, seconds, tokens):
    """Runs variants {name: (statement, parameter...)} on one connection, slice by slice
    in random order; see slices.c. Returns {name: [us a statement]} in the order of
    time, without the first eighth, which warms up."""
    argv = [f'{WORK}/slices', str(processors), str(seconds), '25', str(tokens)]
    for name, statement in variants.items():
        argv += ['--', name, *statement]
    lines = [line.split('\t') for line in run(*argv, PGDATABASE=db, PGOPTIONS='-c synchronous_commit=off').splitlines()]
    times = {name: [] for name in variants}
    for name, value in lines[len(lines) // 8:]:
        times[name].append(float(value))
    return times


def script(name, lines):
    path = f'{WORK}/{name}.pgbench'
    with open(path, 'w') as f:
        f.write('\n'.join(lines) + '\n')
    return path


def pgbench_slices(db, variants, seconds, setup=(), define=(), mode='prepared', options=''):
    """The same by pgbench, for what takes a transaction of several statements, which
    is a slice of its own, or milliseconds. Variants are {name: script}."""
    argv = ['pgbench', '-n', '-M', mode, '-c', '1', '-T', str(seconds), '-l', f'--log-prefix={WORK}/slices', db]
    for name, statement in variants.items():
        argv += ['-f', script(name, [*setup, statement])]
    for definition in define:
        argv += ['-D', definition]
    run(*argv, PGOPTIONS=options)
    (log,) = glob.glob(f'{WORK}/slices.*')
    with open(log) as f:
        lines = [line.split() for line in f]
    os.remove(log)
    times = {name: [] for name in variants}
    for fields in lines[len(lines) // 8:]:
        times[list(variants)[int(fields[3])]].append(int(fields[2]))
    return times


def rounds(times, name, base, n=20):
    """The ratio of throughputs of name and base, in n stretches of the run."""
    def stretch(values, i):
        return statistics.median(values[len(values) * i // n:len(values) * (i + 1) // n])
    n = min(n, len(times[name]), len(times[base]))
    return [stretch(times[base], i) / stretch(times[name], i) for i in range(n)]


def us(values):
    middle = statistics.median(values)
    return f'{middle:.1f} us' if middle < 1000 else f'{middle / 1000:.1f} ms'


PLACE = {2: 'client and backend on two processors', 1: 'on one processor'}
AUTHORIZE = ('SELECT walwarden.authorize($1, $2)', '@token', SCOPE)


def authorize():
    secret = '0123456789abcdef0123456789abcdef'
    ((jwt,),) = psql('bench', f"""SELECT bench.sign_jwt(json_build_object('role', 'web_user', 'sub', gen_random_uuid(),
        'scope', 'backups:trigger {SCOPE}', 'exp', extract(epoch FROM now())::bigint + 86400), '{secret}')""")
    for processors, place in PLACE.items():
        t = slices('bench', processors, {
            'one': ('SELECT 1',),
            'authorize': AUTHORIZE,
            'two calls': ('SELECT walwarden.authenticate($1), walwarden.has_scope($2)', '@token', SCOPE),
            'nothing': ('SELECT bench.noop($1, $2)', '@token', SCOPE),
            'look-up': ('SELECT token_id FROM walwarden_internal.credential WHERE fingerprint = sha256($1::bytea)', '@token'),
            'four statements': ('SELECT bench.verify_api_key($1, $2)', '@token', SCOPE),
            'jwt': ('SELECT bench.verify_jwt($1, $2, $3)', jwt, secret, SCOPE),
        }, 6 if SMALL else 20, 1000)
        one = rounds(t, 'authorize', 'one')
        row(f'authorize, hot: 1,000 tokens at random, {place}', us(t['authorize']), 'SELECT 1: ' + us(t['one']), one, 0.93)
        two = rounds(t, 'two calls', 'one')
        row('authenticate and has_scope: points behind authorize', us(t['two calls']), 'authorize: ' + us(t['authorize']),
            [a - b for a, b in zip(one, two)], 0.03, most=True)
        row('authorize', us(t['authorize']), 'four statements in PL/pgSQL: ' + us(t['four statements']),
            rounds(t, 'authorize', 'four statements'), 5)
        row('authorize', us(t['authorize']), 'a C function that returns true, same parameters: ' + us(t['nothing']), rounds(t, 'authorize', 'nothing'))
        row('authorize', us(t['authorize']), 'index look-up by fingerprint: ' + us(t['look-up']), rounds(t, 'authorize', 'look-up'))
        row('authorize', us(t['authorize']), 'JWT verified in SQL: ' + us(t['jwt']), rounds(t, 'authorize', 'jwt'))


def cold():
    for processors, place in PLACE.items():
        t = slices('bench_cold', processors, {'one': ('SELECT 1',), 'authorize': AUTHORIZE}, 4 if SMALL else 12, COLD)
        row(f'authorize, cold: uniform over {COLD:,} tokens, {place}', us(t['authorize']), 'SELECT 1: ' + us(t['one']),
            rounds(t, 'authorize', 'one'), 0.75)


def rls():
    def count(role):
        return f'BEGIN;\nSELECT walwarden.authenticate(:token);\nSET LOCAL ROLE {role};\nSELECT count(*) FROM bench.document;\nCOMMIT;'
    ((token, documents),) = psql('bench', "SELECT bench.token(1), to_char(count(*), 'FM9,999,999') FROM bench.document")
    seconds = 6 if SMALL else 15
    for workers, ours, other, name, target in (
            (0, 'bench_scope', 'bench_noop', 'has_scope() in a policy', 1.10),
            (2, 'bench_subselect', 'bench_true', '(SELECT has_scope()) in a policy, two workers', 1.15)):
        t = pgbench_slices('bench', {ours: count(ours), other: count(other)}, seconds, define=[f'token={token}'], mode='extended',
                   options=f'-c max_parallel_workers_per_gather={workers}')
        plan = str(psql('bench', f'SET max_parallel_workers_per_gather = {workers}', f'SET ROLE {ours}',
                        'EXPLAIN SELECT count(*) FROM bench.document'))
        if workers and f'Workers Planned: {workers}' not in plan:
            sys.exit(f'no plan with {workers} workers: {plan}')
        row(f'count(*) of {documents} rows, {name}', us(t[ours]), f"{'true' if workers else 'a C function'}: {us(t[other])}",
            rounds(t, other, ours, 10), target, most=True)


def audit():
    payload = json.dumps({'data': {'note': 'x' * 245}})
    stored = json.dumps({'at': '2026-01-01T00:00:00.000000Z', 'jobId': None, 'kind': 'app.bench', 'payload': {
        'data': {'note': 'x' * 245}, 'org': '00000000-0000-0000-0000-000000000000', 'seq': 1000}}, separators=(',', ':'))
    org = "('00000000-0000-0000-0000-00000000' || :o)::uuid"
    bytes32 = 'int8send(:a) || int8send(:b) || int8send(:c) || int8send(:d)'
    ours = f"INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES ({org}, 'app.bench', :body);"
    plain = ("INSERT INTO bench.plain_entry (org_id, seq, at, kind, job_id, body, prev_hash, hash) "
             f"VALUES ({org}, nextval('bench.plain_seq'), now(), 'app.bench', NULL, :body, {bytes32}, {bytes32});")

    def tps(statement, orgs, clients):
        setup = [f'\\set o random(1001, {1000 + orgs})']
        if statement == plain:
            setup += [f'\\set {x} random(1, 9223372036854775806)' for x in 'abcd']
        path = script('audit', [*setup, statement])
        out = run('pgbench', '-n', '-M', 'prepared', '-c', str(clients), '-j', str(min(clients, 2)), '-T', '1',
                  '-f', path, '-D', f'body={payload if statement == ours else stored}', 'bench')
        return float(re.search(r'tps = ([0-9.]+)', out)[1])

    def early(value):
        psql('bench', "LOAD 'walwarden'", f'ALTER SYSTEM SET walwarden.early_lock_release = {value}', 'SELECT pg_reload_conf()')
        time.sleep(0.2)

    have_early = psql('bench', "LOAD 'walwarden'", "SELECT 1 FROM pg_settings WHERE name = 'walwarden.early_lock_release'")
    t = {}
    for _ in range(1 + (4 if SMALL else 10)):
        for orgs, clients in ((64, 16), (1, 1), (1, 16)):
            t.setdefault((ours, orgs, clients), []).append(tps(ours, orgs, clients))
            t.setdefault((plain, orgs, clients), []).append(tps(plain, orgs, clients))
        if have_early:
            early('on')
            t.setdefault('early', []).append(tps(ours, 1, 16))
            early('off')
    for values in t.values():
        del values[0]       # warm-up

    def compare(what, a, other, b, target):
        row(what, f'{statistics.median(t[a]):,.0f}/s', f'{other}: {statistics.median(t[b]):,.0f}/s',
            [x / y for x, y in zip(t[a], t[b])], target)
    compare('audit append, 64 organisations, 16 clients', (ours, 64, 16), 'plain INSERT', (plain, 64, 16), 0.8)
    compare('audit append, one organisation, 1 client', (ours, 1, 1), 'plain INSERT', (plain, 1, 1), 0.85)
    compare('audit append, one organisation, 16 clients', (ours, 1, 16), 'itself with 1 client', (ours, 1, 1), 0.9)
    if have_early:
        compare('the same with early_lock_release', 'early', 'plain INSERT', (plain, 1, 16), 0.6)
    else:
        row('the same with early_lock_release', '', 'plain INSERT', [], 0.6, note='not available')

    few, many = [], []
    for _ in range(3 if SMALL else 7):
        few.append(float(psql('bench', 'SELECT bench.append_us(2000)')[0][0]))
        many.append(float(psql('bench', 'SELECT bench.append_us(20000)')[0][0]))
    row('an entry of 20,000 in one statement', us(many), 'of 2,000: ' + us(few), [m / f for m, f in zip(many, few)], 1.2, most=True)


def verify():
    n = 50000 if SMALL else 200000
    t = [[float(x) for x in line] for line in psql('bench', f'SELECT * FROM bench.verify_ms({n}, {5 if SMALL else 15})')][1:]
    row('verification of bodies of 400 bytes, in C', us([1000 * v / n for v, _ in t]), 'SHA-256 alone: ' + us([1000 * s / n for _, s in t]),
        [s / v for v, s in t], 0.6)
    judge()


def judge():
    """walwarden-verify with the longest chain of the database, against SHA-256 of the same file, by OpenSSL too."""
    run('make', '-s', '-C', 'bin/verify')
    bundle, trust = f'{WORK}/bundle', f'{WORK}/trust'
    os.makedirs(bundle)
    os.makedirs(trust)
    chain = f'{bundle}/chain.tsv'
    with open(f'{trust}/node-1.vkey', 'w') as f:      # that of a test: a folder without keys is refused
        f.write('node-1+dde2e0c9+ASLRCBDbYQVZ/5u2XDbEQkSDLQJNmW7S/BoR40poYYrd\n')
    with open(chain, 'w') as f:
        f.write(run('psql', '-XqAt', '-d', 'bench', '-c', """COPY (SELECT seq, encode(prev_hash, 'hex'), encode(hash, 'hex'), body
            FROM walwarden_internal.audit_entry WHERE org_id = (SELECT org_id FROM walwarden_internal.audit_entry ORDER BY seq DESC LIMIT 1)
            ORDER BY seq) TO STDOUT (FORMAT csv, DELIMITER E'\\t', QUOTE E'\\x01')"""))
    with open(chain) as f:
        entries = sum(1 for _ in f)

    def verified():
        done = subprocess.run(['bin/verify/walwarden-verify', 'bundle', '--trust', trust, bundle], stdout=subprocess.PIPE, text=True)
        if done.returncode != 3 or 'FAIL' in done.stdout:      # 3: there is no checkpoint
            sys.exit(f'walwarden-verify failed: {done.stdout}')

    def digested():
        digest = hashlib.sha256()
        with open(chain, 'rb', buffering=0) as f:
            while chunk := f.read(1 << 18):
                digest.update(chunk)

    def spent(action):
        start = time.monotonic()
        action()
        return 1000 * (time.monotonic() - start)

    ours, other = [], []
    for _ in range(5 if SMALL else 15):
        ours.append(spent(verified))
        other.append(spent(digested))
    row(f'walwarden-verify of a chain of {entries:,} entries, {os.path.getsize(chain) >> 20} MB', f'{statistics.median(ours):.0f} ms',
        f'SHA-256 alone: {statistics.median(other):.0f} ms', [o / s for o, s in zip(ours, other)][1:], 3, most=True)


def timed(db, sql):
    start = time.monotonic()
    result = psql(db, sql)
    return (time.monotonic() - start) * 1000000, result


def sized(n):
    return f'{n / 1000000:g} million' if n >= 1000000 else f'{n:,}'


def scale():
    large = os.environ['LARGE_DB']
    sizes = {'bench': TOKENS, large: LARGE}
    few, many = sized(TOKENS), sized(LARGE)

    def both(what, measure, n, target=None):
        """measure(db) gives microseconds, alternately of either database."""
        t = {db: [] for db in sizes}
        for _ in range(n):
            for db in sizes:
                t[db].append(measure(db))
        row(what, f"{many}: {us(t[large])}", f"{few}: {us(t['bench'])}",
            [a / b for a, b in zip(t[large], t['bench'])], target, most=True)

    def authenticate(processors):
        return lambda db: statistics.median(slices(db, processors, {'authenticate': ('SELECT walwarden.authenticate($1)', '@token')},
                                                   2 if SMALL else 4, sizes[db])['authenticate'])

    def page(db):
        return statistics.median(pgbench_slices(db, {'page': "SELECT count(*) FROM walwarden.list_tokens('org-1', bench.token_id(:i), 100);"}, 2,
                                                setup=[f'\\set i random(101, {sizes[db] // 10})'])['page'])

    def revoke(db):
        # tokens of org-1 that have not been revoked; nothing else is measured with them after this
        revoke.last += 100
        out = run('pgbench', '-n', '-M', 'prepared', '-c', '1', '-t', '100', '-D', f'last={revoke.last}',
                  '-f', script('revoke', ['\\set last :last + 1', "SELECT walwarden.revoke_token(bench.token_id(:last), 'bench');"]), db)
        return 1000 * float(re.search(r'latency average = ([0-9.]+) ms', out)[1])
    revoke.last = 0

    for db in sizes:
        psql(db, 'CREATE EXTENSION IF NOT EXISTS pg_prewarm', """SELECT pg_prewarm(c.oid) FROM pg_class AS c
            WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND c.relname ~ '^(token|token_pkey|token_by_org|token_usage|token_usage_pkey|credential.*)$' AND c.relkind IN ('r', 'i')""")
    for processors, place in PLACE.items():
        both(f'authenticate, uniform, {many} tokens, {place}', authenticate(processors), 3 if SMALL else 5, 1.3)
    both('a page of 100 of list_tokens', page, 2 if SMALL else 3, 2)

    org2 = "(SELECT id FROM walwarden_internal.org WHERE slug = 'org-2')"
    both('verification of a chain of 1,001 entries', lambda db: timed(db, f'SELECT walwarden_internal.verify_chain({org2}, NULL, NULL)')[0], 5)
    both('cross-check of the state of its organisation', lambda db: timed(db, f'SELECT walwarden_internal.verify({org2}, NULL, NULL, NULL)')[0], 3)
    spent, ((entries, bad),) = timed(large, 'SELECT sum(v.entries), count(v.reason) FROM walwarden_internal.org AS o, walwarden_internal.verify_chain(o.id, NULL, NULL) AS v')
    row(f'verification of all {sized(LARGE)} tokens\' chains', f'{spent / 1e6:.1f} s', f'{us([spent / int(entries)])} an entry', [],
        note=f'{bad} bad' if bad != '0' else 'all good')

    for db in sizes:        # so that maintenance is left with the tokens
        psql(db, """INSERT INTO walwarden_internal.verification (org_id, finished_at, entries, head_hash, ok)
                    SELECT org_id, now(), 0, '', true FROM walwarden_internal.chains() ON CONFLICT DO NOTHING""")
    both(f'run_maintenance() that removes {OVERDUE:,} tokens, each', lambda db: timed(db, 'SELECT walwarden.run_maintenance()')[0] / OVERDUE, 1)
    both('revoke_token()', revoke, 3)


def rest():
    if os.environ.get('MISSING'):
        return row('GET /databases, 25 rows', '', 'a constant of that size', [], 0.9, note='skipped, missing: ' + os.environ['MISSING'].strip())
    url = os.environ['REST_URL']
    ((token,),) = psql('bench', """SELECT token FROM walwarden.issue_token('org-1', 'rest',
                                   ARRAY['databases:read', 'databases:write', 'destinations:read', 'destinations:write'])""")
    headers = {'Authorization': f'Bearer {token}', 'Content-Type': 'application/json'}

    def post(path, **body):
        request = urllib.request.Request(url + path, json.dumps(body).encode(), {**headers, 'Idempotency-Key': str(uuid.uuid4())})
        return json.load(urllib.request.urlopen(request))
    destination = post('/destinations', name='offsite', provider='s3', uri='s3://bench/backups')['id']
    for i in range(25):
        post('/databases', name=f'database-{i}', connectionRef=f'connection-{i}', destinationId=destination)
    ours = url + '/databases?limit=25'
    answer = urllib.request.urlopen(urllib.request.Request(ours, headers=headers)).read().decode()
    psql('bench', f"CREATE OR REPLACE FUNCTION walwarden_rest.bench_constant() RETURNS json LANGUAGE sql STABLE RETURN $json${answer}$json$::json")
    constant = url.replace('/api/v1', '/rest/rpc/bench_constant')
    if len(json.loads(answer)['databases']) != 25 or urllib.request.urlopen(constant).read().decode() != answer:
        sys.exit('the two answers are not the same')

    def rate(target, *extra):
        out = run('wrk', '-t', '1', '-c', '8', '-d', '2s', *extra, target)
        if 'Non-2xx' in out or 'Socket errors' in out:
            sys.exit(f'{target}:\n{out}')
        return float(re.search(r'Requests/sec: *([0-9.]+)', out)[1])
    a, b = [], []
    for _ in range(1 + (3 if SMALL else 12)):
        a.append(rate(ours, '-H', f'Authorization: Bearer {token}'))
        b.append(rate(constant))
    row(f'GET /databases, 25 rows, {len(answer):,} bytes', f'{statistics.median(a[1:]):,.0f}/s', f'a constant of that size: {statistics.median(b[1:]):,.0f}/s',
        [x / y for x, y in zip(a[1:], b[1:])], 0.9)


def table():
    with open(f'{WORK}/bench.jsonl') as f:
        rows = [json.loads(line) for line in f]
    print('| what | ours | the other side | ratio | quartiles | target | |')
    print('|---|---|---|---|---|---|---|')
    for r in rows:
        ratio, spread, verdict = '', '', r['note']
        if r['ratios']:
            middle = statistics.median(r['ratios'])
            ratio = f'{middle:.2f}'
            if len(r['ratios']) > 1:
                q = statistics.quantiles(r['ratios'], n=4, method='inclusive')
                spread = f'{q[0]:.2f} .. {q[2]:.2f}'
            if r['target'] is not None:
                verdict = 'met' if (middle <= r['target'] if r['most'] else middle >= r['target']) else 'not met'
        target = '' if r['target'] is None else f"{'<=' if r['most'] else '>='} {r['target']:g}"
        print('|', ' | '.join([r['what'], r['ours'], r['other'], ratio, spread, target, verdict]), '|')


if __name__ == '__main__':     # else bench/runner.py takes functions from here
    globals()[sys.argv[1]]()
