"""Measures the doors, by the processor time of the backend: see bench/README.md.

    doors.py        appends rows to $WORK/bench.jsonl

Called by bench/run, after doors.sql. Each round calls each door several times, and as often
a function that writes the same rows; for the rows about a first call, each time on a connection
of its own.
"""
import statistics

from measure import SMALL, Backend, beside, row

BURST = 10
ROUNDS, FIRST = (24, 8) if SMALL else (80, 30)


def middle(clocks):
    """Of several calls, the median of each clock."""
    return [statistics.median(times) for times in zip(*clocks)]


def compare(what, ours, bare, other, target=None):
    n = len(ours) // 8      # warms up
    (ours, ours_waited), (bare, bare_waited) = zip(*ours[n:]), zip(*bare[n:])
    row(f'{what}, processor time', f'{statistics.median(ours):.0f} us', f'{other}: {statistics.median(bare):.0f} us', [b / a for a, b in zip(ours, bare)], target,
        beside=beside('wall', ours_waited, bare_waited))


def tokens():
    """The doors of an application, called by an operator and by a member."""
    operator, admin = Backend(), Backend('bench_admin')
    ids = operator.call('SELECT bench.token_id(i) FROM generate_series(1001, %s) AS i', [1000 + 2 * BURST * (ROUNDS + 1)])[1]
    append = "SELECT walwarden.append_audit('app.bench', '{\"invoice\": 17, \"customer\": \"4711\", \"note\": \"an entry like many others\"}', NULL, 'org-2')"
    issue = "SELECT * FROM walwarden.issue_token('org-2', 'bench', '{databases:read}')"
    doors = {       # who calls, what, the function that writes the same rows, the target
        'append_audit()': (operator, append, 'app.bench', 'bare_append', 0.5),
        'append_audit() by a member': (admin, append, 'app.bench', 'bare_append', 0.5),
        'issue_token()': (operator, issue, 'token.issued', 'bare_issue', 0.3),
        'issue_token() by a member': (admin, issue, 'token.issued', 'bare_issue', 0.3),
        'renew_token()': (operator, "SELECT * FROM walwarden.renew_token(%s, '1 hour')", 'token.renewed', 'bare_renew', 0.3),
        'revoke_token()': (operator, "SELECT walwarden.revoke_token(%s, 'bench')", 'token.revoked', 'bare_revoke', 0.3),
    }
    times = {name: ([], []) for name in doors}
    for r in range(ROUNDS + 1):
        for name, (backend, ours, kind, bare, target) in doors.items():
            # renewals and revocations are of tokens of their own
            arguments = [[ids.pop()[0]] if '%s' in ours else [] for _ in range(BURST)]
            times[name][0].append(middle(backend.call(ours, a)[0] for a in arguments))
            if r == 0:
                operator.call("""INSERT INTO bench.sample SELECT e.kind, e.body FROM walwarden_internal.audit_entry AS e
                    WHERE e.kind = %s ORDER BY e.at DESC LIMIT 1 ON CONFLICT DO NOTHING RETURNING true""", [kind])
            bare = f'SELECT bench.{bare}(body{", %s" if arguments[0] else ""}) FROM bench.sample WHERE kind = %s'
            calls = [operator.call(bare, [*a, kind]) for a in arguments]
            if not all(rows for _, rows in calls):
                raise RuntimeError(f'no entry of kind {kind} to write again')
            times[name][1].append(middle(clocks for clocks, _ in calls))
    for name, (ours, bare) in times.items():
        compare(name, ours, bare, 'the same rows', doors[name][-1])

    ours, bare = [], []
    for _ in range(ROUNDS):
        ours.append(middle(operator.call("SELECT * FROM walwarden.list_tokens('org-1', NULL, 100)")[0] for _ in range(BURST)))
        bare.append(middle(operator.call('SELECT * FROM bench.bare_page()')[0] for _ in range(BURST)))
    compare('list_tokens(), a page of 100', ours, bare, 'SELECT of the same columns', 0.25)


def jobs():
    """The runner protocol. Each call authenticates, as it has to."""
    node = Backend('bench_node')
    ((token,),) = node.call('SELECT token FROM bench.node_token')[1]
    as_node = 'SELECT j.* FROM walwarden.authenticate(%s) AS a(id), '
    doors = {
        'claim_job()': (as_node + "walwarden.claim_job('{backup}', '1 hour') AS j",
                        "state = 'claimed', attempt = attempt + 1, fence = fence + 1, claimed_at = clock_timestamp(), lease = '1 hour', lease_until = clock_timestamp(), audit_seq = audit_seq + 1", 0.15),
        'heartbeat_job()': (as_node + 'walwarden.heartbeat_job(%s, %s, \'{"percent": 40, "phase": "dumping"}\') AS j',
                            'lease_until = clock_timestamp(), progress = \'{"percent": 40, "phase": "dumping"}\'', 0.4),
        'report_job()': (as_node + "walwarden.report_job(%s, %s, 'running') AS j",
                         "state = 'running', started_at = clock_timestamp(), lease_until = clock_timestamp(), audit_seq = audit_seq + 1", 0.15),
    }
    # ends the job, so that no claim finds it in its way
    end = as_node + 'walwarden.report_job(%s, %s, \'failed\', \'{"error": {"class": "bench", "message": "the end of a round", "retryable": false}}\') AS j'
    times = {name: ([], []) for name in doors}
    for _ in range(ROUNDS):
        claims = []
        for name, (ours, bare, target) in doors.items():
            arguments = claims or [[]] * BURST
            calls = [node.call(ours, [token, *a]) for a in arguments]
            times[name][0].append(middle(clocks for clocks, _ in calls))
            claims = claims or [[rows[0][0], rows[0][2]] for _, rows in calls]
            bare = f'UPDATE bench.bare_job SET {bare} WHERE id = %s RETURNING true'
            times[name][1].append(middle(node.call(bare, claim[:1])[0] for claim in claims))
        for claim in claims:
            node.call(end, [token, *claim])
    for name, (ours, bare) in times.items():
        compare(name, ours, bare, 'UPDATE of the row', doors[name][-1])


def first():
    """The first call of a session: what a program pays that connects for one call."""
    ours, bare = [], []
    for _ in range(FIRST):
        ours.append(Backend().call("SELECT walwarden.append_audit('app.bench', '{}', NULL, 'org-2')")[0])
        bare.append(Backend().call("SELECT bench.bare_append(body) FROM bench.sample WHERE kind = 'app.bench'")[0])
    compare('the first append_audit() of a session', ours, bare, 'the same row, the first time')
    ours, bare = [], []
    for _ in range(FIRST):
        ours.append(Backend().call("SELECT * FROM walwarden.issue_token('org-2', 'bench', '{databases:read}')")[0])
        bare.append(Backend().call("SELECT bench.bare_issue(body) FROM bench.sample WHERE kind = 'token.issued'")[0])
    compare('the first issue_token() of a session', ours, bare, 'the same rows, the first time')


if __name__ == '__main__':
    tokens()
    jobs()
    first()
