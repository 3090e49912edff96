"""Measures what depends on how many tokens there are: see bench/README.md.

    scale.py state|scale    append rows to $WORK/bench.jsonl

Called by bench/run, which has made the databases and set the environment.
"""
import collections
import os
import random
import re
import statistics
import sys
import threading

from measure import PLACE, SMALL, Backend, beside, psql, row, run, slices, us

TOKENS, LARGE = (int(os.environ[n]) for n in ('TOKENS', 'LARGE'))
ORG = 1000          # how many tokens an organisation has, but for org-1
ROUNDS = 3 if SMALL else 7      # of maintenance


def sized(n):
    return f'{n / 1000000:g} million' if n >= 1000000 else f'{n:,}'


def limit(what, ours, most, name, values):
    """A row of a figure that is to be at most so much, whatever the other side takes."""
    row(what, ours, f'limit: {name}', [v / most for v in values], 1, most=True)


def counters(backend, query):
    """What a query says of the statistics, with all that this backend has added until now."""
    backend.call('SELECT true FROM pg_stat_force_next_flush()')
    return backend.call(query)[1]


def state():
    """What the comparison of the rows with the chain takes beside the verification of that chain, by the clock of the backend."""
    backend = Backend(db='bench_state')
    for slug in ('org-2', 'org-1'):
        ((org, rows),) = backend.call("""SELECT o.id, (SELECT count(*) FROM walwarden_internal.audited_row AS r WHERE r.org_id = o.id)
                                           FROM walwarden_internal.org AS o WHERE o.slug = %s""", [slug])[1]
        chain, check = [], []
        for _ in range(1 + (5 if SMALL else 15)):
            (entries_us, _), ((entries, *bad),) = backend.call('SELECT v.entries, v.reason FROM walwarden_internal.verify_chain(%s, NULL, NULL) AS v', [org])
            (whole_us, _), found = backend.call('SELECT v.entries, v.reason FROM walwarden_internal.verify(%s, NULL, NULL, NULL) AS v', [org])
            if bad != [None] or found != [(entries, None)]:
                sys.exit(f'{slug} does not verify: {bad}, {found}')
            chain.append(entries_us / entries)
            check.append((whole_us - entries_us) / rows)
        row(f'cross-check of the state of {rows - 1:,} tokens, a row, processor time', us(check[1:]), 'verification of the chain, an entry: ' + us(chain[1:]),
            [s / c for s, c in zip(check[1:], chain[1:])], 4, most=True)


class PrivateMemory(threading.Thread):
    """The most memory of its own that a process has had: without what it shares, read ten times a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path, self.most, self.ended = f'/proc/{pid}/status', 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.1):
            self.most = max(self.most, self.read('RssAnon'))

    def read(self, name):
        with open(self.path) as f:
            return int(re.search(rf'{name}:\s+([0-9]+) kB', f.read())[1]) << 10

    def end(self):
        """And the most that was resident, with what it shares."""
        self.ended.set()
        self.join()
        return self.most, self.read('VmHWM')


def verify_all(backend, tokens):
    """verify_audit_chain(): its time, its memory, and whether it writes temporary files."""
    temp_files = 'SELECT temp_files FROM pg_stat_database WHERE datname = current_database()'
    ((work_mem,),) = backend.call("SELECT pg_size_bytes(current_setting('maintenance_work_mem'))")[1]
    (used, waited), ((entries, bad),) = backend.call("""SELECT sum(v.entries), count(v.reason)
        FROM walwarden_internal.org AS o, walwarden_internal.verify_chain(o.id, NULL, NULL) AS v""")
    row(f'verification of the chains of {tokens} tokens', f'{waited / 1e6:.0f} s', f'{us([used / int(entries)])} an entry', [], note='all good' if bad == 0 else f'{bad} bad')

    ((files_before,),) = counters(backend, temp_files)
    memory = PrivateMemory(backend.pid)
    (used, waited), ((entries, bad),) = backend.call('SELECT sum(v.entries), count(*) FILTER (WHERE NOT v.ok) FROM walwarden.verify_audit_chain() AS v')
    private, resident = memory.end()
    ((files,),) = counters(backend, temp_files)
    if bad:
        sys.exit(f'{bad} chains do not verify')
    limit(f'verify_audit_chain(): all of {tokens} tokens', f'{waited / 1e6:.0f} s, processor {used / 1e6:.0f} s', 300, '5 minutes', [waited / 1e6])
    limit('its memory, without what is shared', f'{private / 1e6:.0f} MB (with that {resident / 1e6:,.0f} MB)', 2 * work_mem, f'twice maintenance_work_mem, {2 * work_mem / 1e6:.0f} MB', [private])
    row('its temporary files', str(files - files_before), 'none', [files - files_before], 0, most=True)


def maintenance(backends, sizes, few, many):
    """Rounds with nothing to do, and between them rounds that remove tokens, beside the same rows in plain tables."""
    scans = """SELECT s.relname, s.seq_tup_read FROM pg_stat_all_tables AS s
                WHERE s.schemaname = 'walwarden_internal' AND pg_relation_size(s.relid) > 65536"""
    idle, ours, floor = ({db: [] for db in backends} for _ in range(3))
    read = collections.Counter()
    for db, backend in backends.items():
        backend.call('SELECT walwarden.run_maintenance()')      # counts
    for r in range(ROUNDS):
        for db, backend in backends.items():
            before = dict(counters(backend, scans))
            clocks, rows = backend.call('SELECT walwarden.run_maintenance()')
            idle[db].append(clocks)
            if rows != [(False,)]:
                sys.exit('there was something to do')
            if sizes[db] == LARGE:
                read.update({name: n - before[name] for name, n in counters(backend, scans)})

            first = sizes[db] + r * ORG + 1
            psql(db, f'CALL bench.generate_overdue({sizes[db]}, {first}, {first + ORG - 1})')
            org = backend.call('SELECT bench.org_id(bench.org_of(%s, %s))', [first, sizes[db] // 10])[1][0]
            backend.call('SELECT bench.copy_overdue(%s)', org)
            (used, _), rows = backend.call('SELECT walwarden.run_maintenance()')
            ours[db].append((used - clocks[0]) / ORG)
            if rows != [(True,)] or backend.call('SELECT count(*) FROM walwarden_internal.token WHERE org_id = %s AND removed_at IS NOT NULL', org)[1] != [(ORG,)]:
                sys.exit('not all was removed')
            (used, _), _ = backend.call('SELECT bench.bare_remove(%s)', org)
            floor[db].append(used / ORG)
    small, large = backends
    what = 'removal of a token by run_maintenance(), processor time'
    row(f'{what}, of {many}', us(ours[large]), 'the same rows: ' + us(floor[large]), [b / a for a, b in zip(ours[large], floor[large])])
    limit(f'{what}, of {many}', us(ours[large]), 500, '0.5 ms', ours[large])
    row(what, f'{many}: {us(ours[large])}', f'{few}: {us(ours[small])}', [a / b for a, b in zip(ours[large], ours[small])], 1.3, most=True)
    read = {name: n / ROUNDS for name, n in read.items() if n > 0}
    row(f'run_maintenance() with nothing to do, of {many}: rows read in scans of whole tables',
        ', '.join(f'{n:,.0f} of {name}' for name, n in read.items()) or '0', 'none', [sum(read.values())], 0, most=True)
    (used, waited), (used_few, waited_few) = zip(*idle[large]), zip(*idle[small])
    row('its processor time', f'{many}: {us(used)}', f'{few}: {us(used_few)}', [a / b for a, b in zip(used, used_few)], beside=beside('wall', waited, waited_few, most=True))


def scale():
    large = os.environ['LARGE_DB']
    sizes = {'bench': TOKENS, large: LARGE}
    few, many = sized(TOKENS), sized(LARGE)

    def both(what, measure, n, target=None, clock='processor'):
        """measure(db) gives microseconds, alternately of either database, and those of another clock."""
        t = {db: [] for db in sizes}
        for _ in range(n):
            for db in sizes:
                t[db].append(measure(db))
        (ours, ours_beside), (others, others_beside) = zip(*t[large]), zip(*t['bench'])
        row(what, f'{many}: {us(ours)}', f'{few}: {us(others)}', [a / b for a, b in zip(ours, others)], target, most=True,
            beside=beside(clock, ours_beside, others_beside, most=True))

    def authenticate(processors):
        def measure(db):
            t = slices(db, processors, {'authenticate': ('SELECT walwarden.authenticate($1)', '@token')}, 2 if SMALL else 4, sizes[db])
            return [statistics.median(clock['authenticate']) for clock in t]
        return measure

    def page(db):
        return backends[db].call("SELECT * FROM walwarden.list_tokens('org-1', bench.token_id(%s), 100)", [random.randint(101, sizes[db] // 10)])[0]

    def revoke(db):
        # a token of org-1; nothing else is measured with it after this
        revoke.last[db] += 1
        return backends[db].call("SELECT walwarden.revoke_token(bench.token_id(%s), 'bench')", [revoke.last[db]])[0]
    revoke.last = {db: 0 for db in sizes}

    def verify(function):
        return lambda db: backends[db].call(f"SELECT {function} FROM walwarden_internal.org AS o WHERE o.slug = 'org-2'")[0]

    backends = {db: Backend(db=db) for db in sizes}
    for db in sizes:
        psql(db, 'CREATE EXTENSION IF NOT EXISTS pg_prewarm', """SELECT pg_prewarm(c.oid) FROM pg_class AS c
            WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND c.relname ~ '^(token|token_pkey|token_by_org|token_usage|token_usage_pkey|credential.*)$' AND c.relkind IN ('r', 'i')""")
    for (processors, place), target in zip(PLACE.items(), (1.3, None)):
        both(f'authenticate, uniform, {many} tokens, {place}', authenticate(processors), 3 if SMALL else 5, target)
    both('a page of 100 of list_tokens, processor time', page, 50, 2, 'wall')
    both('verification of a chain of 1,001 entries, processor time', verify('walwarden_internal.verify_chain(o.id, NULL, NULL)'), 5, clock='wall')
    both('cross-check of the state of its organisation, processor time', verify('walwarden_internal.verify(o.id, NULL, NULL, NULL)'), 5, clock='wall')
    verify_all(backends[large], many)

    for db in sizes:
        psql(db, """INSERT INTO walwarden_internal.verification (org_id, finished_at, entries, head_hash, ok)
                    SELECT org_id, now(), 0, '', true FROM walwarden_internal.chains() ON CONFLICT DO NOTHING""")     # so that no round verifies
        run('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', db, '-f', 'bench/removal.sql')
    maintenance(backends, sizes, few, many)
    both('revoke_token(), processor time', revoke, 100, clock='wall')


if __name__ == '__main__':
    globals()[sys.argv[1]]()
