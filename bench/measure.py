"""Measures, one part a call, and prints the table: see bench/README.md.

    measure.py authorize|storm|cold|rls|rest|audit|verify   append rows to $WORK/bench.jsonl
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
import urllib.error
import urllib.request
import uuid

import psycopg

WORK = os.environ['WORK']
SMALL = os.environ['SCALE'] == 'small'
COLD = int(os.environ['COLD'])
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


def row(what, ours, other, ratios, target=None, most=False, beside='', note=''):
    """ratios: one a round. target None: for information. most: the ratio is to be at most the target.
    beside: what another clock says."""
    with open(f'{WORK}/bench.jsonl', 'a') as f:
        f.write(json.dumps(dict(what=what, ours=ours, other=other, ratios=ratios, target=target, most=most, beside=beside, note=note)) + '\n')


def processor_clock(pid):
    """The kernel's clock of another process: see CPUCLOCK_SCHED of Linux."""
    return ~pid << 3 | 2


def spent(pids):
    """Microseconds of the processor that these processes have used."""
    return sum(time.clock_gettime_ns(processor_clock(pid)) for pid in pids) / 1000


class Backend:
    """A connection, and the processor time of the process behind it."""

    def __init__(self, role='none', db='bench'):
        self.connection = psycopg.connect(dbname=db, autocommit=True, prepare_threshold=0,
                                          options=f'-c role={role} -c synchronous_commit=off -c jit=off')
        self.pid = self.connection.info.backend_pid

    def call(self, *statement):
        """Microseconds of the processor and microseconds that the client waited, and the rows."""
        waited, used = time.monotonic_ns(), spent([self.pid])
        rows = self.connection.execute(*statement).fetchall()
        used = spent([self.pid]) - used
        return (used, (time.monotonic_ns() - waited) / 1000), rows


def slices(db, processors, variants, seconds, tokens):
    """Runs variants {name: (statement, parameter...)} on one connection, slice by slice
    in random order; see slices.c. Returns {name: [us a statement]} in the order of
    time, without the first eighth, which warms up; and the same of the processor."""
    argv = [f'{WORK}/slices', str(processors), str(seconds), '25', str(tokens)]
    for name, statement in variants.items():
        argv += ['--', name, *statement]
    lines = [line.split('\t') for line in run(*argv, PGDATABASE=db, PGOPTIONS='-c synchronous_commit=off').splitlines()]
    times, processor = {name: [] for name in variants}, {name: [] for name in variants}
    for name, waited, used in lines[len(lines) // 8:]:
        times[name].append(float(waited))
        processor[name].append(float(used))
    return times, processor


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


def beside(clock, ours, other, most=False):
    """The times of another clock, and the ratio of their medians, as row() has it."""
    a, b = statistics.median(ours), statistics.median(other)
    return f'{clock} {us(ours)}, {us(other)}: {a / b if most else b / a:.2f}'


PLACE = {2: 'client and backend on two processors', 1: 'on one processor'}
AUTHORIZE = ('SELECT walwarden.authorize($1, $2)', '@token', SCOPE)


def authorize():
    secret = '0123456789abcdef0123456789abcdef'
    ((jwt,),) = psql('bench', f"""SELECT bench.sign_jwt(json_build_object('role', 'web_user', 'sub', gen_random_uuid(),
        'scope', 'backups:trigger {SCOPE}', 'exp', extract(epoch FROM now())::bigint + 86400), '{secret}')""")
    for (processors, place), target in zip(PLACE.items(), (0.95, 0.90)):
        t, processor = slices('bench', processors, {
            'one': ('SELECT 1',),
            'authorize': AUTHORIZE,
            'two calls': ('SELECT walwarden.authenticate($1), walwarden.has_scope($2)', '@token', SCOPE),
            'nothing': ('SELECT bench.noop($1, $2)', '@token', SCOPE),
            'look-up': ('SELECT token_id FROM walwarden_internal.credential WHERE fingerprint = sha256($1::bytea)', '@token'),
            'four statements': ('SELECT bench.verify_api_key($1, $2)', '@token', SCOPE),
            'jwt': ('SELECT bench.verify_jwt($1, $2, $3)', jwt, secret, SCOPE),
        }, 6 if SMALL else 20, 1000)

        def compare(what, other, name, target=None):
            row(what, us(t['authorize']), f'{name}: {us(t[other])}', rounds(t, 'authorize', other), target,
                beside=beside('processor', processor['authorize'], processor[other]))
        compare(f'authorize, hot: 1,000 tokens at random, {place}', 'nothing', 'a C function that does nothing, same parameters', target)
        compare('authorize', 'one', 'SELECT 1')
        two = rounds(t, 'two calls', 'one')
        row('authenticate and has_scope: points behind authorize', us(t['two calls']), 'authorize: ' + us(t['authorize']),
            [a - b for a, b in zip(rounds(t, 'authorize', 'one'), two)], 0.03, most=True)
        compare('authorize', 'four statements', 'four statements in PL/pgSQL', 5)
        compare('authorize', 'look-up', 'index look-up by fingerprint')
        compare('authorize', 'jwt', 'JWT verified in SQL')


def storm():
    """authorize with 16 clients, in stretches that are quiet and stretches with a change of one of the tokens in each second."""
    stretch, pairs = 3, 3 if SMALL else 15
    duration = 2 * stretch * (1 + pairs)
    path = script('storm', ['\\set i random(1000000000000000001, 1000000000000001000)',
                            f"SELECT walwarden.authorize('{'wal_':0<49}' || :i, :scope);"])
    changer = Backend()
    bench = subprocess.Popen(['pgbench', '-n', '-M', 'prepared', '-c', '16', '-j', '2', '-P', '1', '-T', str(duration + 1), '-f', path, '-D', f'scope={SCOPE}', 'bench'],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds, used = [], None
    for line in bench.stderr:       # one a second
        if not (progress := re.match(r'progress: .* s, ([0-9.]+) tps', line)):
            sys.exit(f'pgbench: {line}')
        if not seconds:
            clients = [pid for pid, in changer.call("SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench'")[1]]
        was, used = used, spent(clients)
        seconds.append((float(progress[1]), used - was if was else 0))
        if len(seconds) == duration:
            break
        if len(seconds) // stretch % 2:
            changer.call('SELECT walwarden.update_token(bench.token_id(%s), %s)', [1 + len(seconds) * 7 % 1000, f'changed in second {len(seconds)}'])
    if bench.wait() != 0:
        sys.exit('pgbench failed')
    # one stretch after the other, without the first pair; in each the calls in a second, and processor time of one
    stretches = [seconds[i:i + stretch] for i in range(2 * stretch, duration, stretch)]
    rate = [sum(tps for tps, _ in s) / stretch for s in stretches]
    used = [sum(us for _, us in s) / sum(tps for tps, _ in s) for s in stretches]
    row('authorize, 16 clients, with one change of a token a second', f'{statistics.median(rate[1::2]):,.0f}/s', f'itself, quiet: {statistics.median(rate[::2]):,.0f}/s',
        [changing / quiet for quiet, changing in zip(rate[::2], rate[1::2])], 0.95, beside=beside('processor', used[1::2], used[::2]))


def cold():
    for (processors, place), target in zip(PLACE.items(), (0.80, None)):
        t, processor = slices('bench_cold', processors, {'one': ('SELECT 1',), 'authorize': AUTHORIZE}, 4 if SMALL else 12, COLD)
        row(f'authorize, cold: uniform over {COLD:,} tokens, {place}', us(t['authorize']), 'SELECT 1: ' + us(t['one']),
            rounds(t, 'authorize', 'one'), target, beside=beside('processor', processor['authorize'], processor['one']))


def rls():
    def count(role):
        return f'BEGIN;\nSELECT walwarden.authenticate(:token);\nSET LOCAL ROLE {role};\nSELECT count(*) FROM bench.document;\nCOMMIT;'
    ((token, documents),) = psql('bench', "SELECT bench.token(1), to_char(count(*), 'FM9,999,999') FROM bench.document")
    seconds = 6 if SMALL else 15
    for workers, ours, other, name, target in (
            (0, 'bench_scope', 'bench_noop', 'has_scope() in a policy', 1.05),
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

    def tps(statement, orgs, clients, options=''):
        setup = [f'\\set o random(1001, {1000 + orgs})']
        if statement == plain:
            setup += [f'\\set {x} random(1, 9223372036854775806)' for x in 'abcd']
        path = script('audit', [*setup, statement])
        out = run('pgbench', '-n', '-M', 'prepared', '-c', str(clients), '-j', str(min(clients, 2)), '-T', '1',
                  '-f', path, '-D', f'body={payload if statement == ours else stored}', 'bench', PGOPTIONS=options)
        return float(re.search(r'tps = ([0-9.]+)', out)[1])

    def early(value):
        psql('bench', "LOAD 'walwarden'", f'ALTER SYSTEM SET walwarden.early_lock_release = {value}', 'SELECT pg_reload_conf()')
        time.sleep(0.2)

    # the server sleeps before each flush, with the lock that only one has who flushes
    slow = '-c commit_delay=1000 -c commit_siblings=0'
    t = {}
    for _ in range(1 + (4 if SMALL else 10)):
        for case in ((64, 16), (1, 1), (1, 16)):
            for statement in (ours, plain):
                t.setdefault((statement, *case), []).append(tps(statement, *case))
        for case in ((ours, 1, 1, slow), (ours, 1, 16, slow), (plain, 1, 16, slow)):
            t.setdefault(case, []).append(tps(*case))
        early('on')
        t.setdefault('early', []).append(tps(ours, 1, 16))
        t.setdefault('early, slow', []).append(tps(ours, 1, 16, slow))
        early('off')
    for values in t.values():
        del values[0]       # warm-up

    def compare(what, a, other, b, target=None):
        row(what, f'{statistics.median(t[a]):,.0f}/s', f'{other}: {statistics.median(t[b]):,.0f}/s',
            [x / y for x, y in zip(t[a], t[b])], target)
    compare('audit append, 64 organisations, 16 clients', (ours, 64, 16), 'plain INSERT', (plain, 64, 16), 0.82)
    compare('audit append, one organisation, 1 client', (ours, 1, 1), 'plain INSERT', (plain, 1, 1), 0.93)
    compare('audit append, one organisation, 16 clients', (ours, 1, 16), 'itself with 1 client', (ours, 1, 1))
    compare('the same with early_lock_release', 'early', 'plain INSERT', (plain, 1, 16))
    compare('audit append, one organisation, 16 clients, a flush of 1 ms', (ours, 1, 16, slow), 'itself with 1 client', (ours, 1, 1, slow), 0.9)
    compare('the same with early_lock_release', 'early, slow', 'plain INSERT', (plain, 1, 16, slow), 0.6)

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


def rest():
    names = 'GET /databases, 25 rows', 'the same, with If-None-Match'
    if os.environ.get('MISSING'):
        for name, target in zip(names, (0.75, 1.1)):
            row(name, '', 'a constant of that size', [], target, note='skipped, missing: ' + os.environ['MISSING'].strip())
        return
    url = os.environ['REST_URL']
    ((token, node),) = psql('bench', """SELECT a.token, n.token FROM walwarden.issue_token('org-1', 'node', kind => 'node') AS n,
        walwarden.issue_token('org-1', 'rest', '{databases:read,databases:write,destinations:read,destinations:write,backups:trigger}') AS a""")
    headers = {'Authorization': f'Bearer {token}', 'Content-Type': 'application/json'}

    def post(path, **body):
        request = urllib.request.Request(url + path, json.dumps(body).encode(), {**headers, 'Idempotency-Key': str(uuid.uuid4())})
        return json.load(urllib.request.urlopen(request))
    destination = post('/destinations', name='offsite', provider='s3', uri='s3://bench/backups')['id']
    databases = [post('/databases', name=f'database-{i}', connectionRef=f'connection-{i}', destinationId=destination)['id'] for i in range(25)]
    for _ in range(12):
        for database in databases:
            post(f'/databases/{database}/backups')
        psql('bench', 'SET ROLE bench_runner', f"CALL bench.complete_backups('{node}')")
    ours = url + '/databases?limit=25'
    answer = urllib.request.urlopen(urllib.request.Request(ours, headers=headers))
    tag, body = answer.headers['ETag'], answer.read().decode()
    psql('bench', f"CREATE OR REPLACE FUNCTION walwarden_rest.bench_constant() RETURNS json LANGUAGE sql STABLE RETURN $json${body}$json$::json")
    constant = url.replace('/api/v1', '/rest/rpc/bench_constant')
    if [d['readiness']['verdict'] for d in json.loads(body)['databases']] != 25 * ['ready'] or urllib.request.urlopen(constant).read().decode() != body:
        sys.exit('the two answers are not the same')
    try:
        urllib.request.urlopen(urllib.request.Request(ours, headers={**headers, 'If-None-Match': tag}))
        sys.exit('no 304')
    except urllib.error.HTTPError as error:
        if error.code != 304:
            raise

    def rate(target, *fields):
        """Requests a second, and microseconds of all backends for one."""
        pids = [int(pid) for pid, in psql('bench', "SELECT pid FROM pg_stat_activity WHERE usename = 'authenticator'")]
        used = spent(pids)
        out = run('wrk', '-t', '1', '-c', '8', '-d', '2s', *(x for field in fields for x in ('-H', field)), target)
        used = spent(pids) - used
        if 'Non-2xx' in out or 'Socket errors' in out:
            sys.exit(f'{target}:\n{out}')
        return float(re.search(r'Requests/sec: *([0-9.]+)', out)[1]), used / int(re.search(r'([0-9]+) requests in', out)[1])
    t = {name: [] for name in (*names, 'constant')}
    for _ in range(1 + (3 if SMALL else 12)):
        t[names[0]].append(rate(ours, f'Authorization: Bearer {token}'))
        t['constant'].append(rate(constant))
        t[names[1]].append(rate(ours, f'Authorization: Bearer {token}', f'If-None-Match: {tag}'))
    others, others_used = zip(*t['constant'][1:])
    for name, what, target in zip(names, (f'GET /databases, 25 rows with 12 verified backups each, {len(body):,} bytes', 'the same, with If-None-Match: 304'), (0.75, 1.1)):
        rates, used = zip(*t[name][1:])
        row(what, f'{statistics.median(rates):,.0f}/s', f'a constant of that size: {statistics.median(others):,.0f}/s',
            [a / b for a, b in zip(rates, others)], target, beside=beside('processor of the backends', used, others_used))


def table():
    with open(f'{WORK}/bench.jsonl') as f:
        rows = [json.loads(line) for line in f]
    print('| what | ours | the other side | ratio | quartiles | target | | beside it |')
    print('|---|---|---|---|---|---|---|---|')
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
        print('|', ' | '.join([r['what'], r['ours'], r['other'], ratio, spread, target, verdict, r['beside']]), '|')


if __name__ == '__main__':     # else others take functions from here
    globals()[sys.argv[1]]()
