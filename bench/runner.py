"""Measures walwarden-runner beside the tools that it starts: see bench/README.md.

    runner.py       appends rows to $WORK/bench.jsonl

Called by bench/run: the servers' programs are on the PATH, the runner is $RUNNER, and the
cluster that the environment names is for the control database.
"""
import collections
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time

from measure import SMALL, WORK, psql, row, run

TOP = f'{WORK}/runner'
SIZES = {'small': (8000, 1, 6)}     # cluster: rows in each of its tables; rounds that warm up, and that count
if not SMALL:
    SIZES['large'] = (1000000, 0, 3)
RUNNER = 'walwarden-runner'[:15]    # as the kernel calls it

# The tools alone: what they make is hashed, and kept nowhere.
ALONE = {
    'pg_dump': 'pg_dump -Fc -d orders | sha256sum > sum',
    'pg_basebackup': 'pg_basebackup -D - -Ft -X fetch -z -c fast | sha256sum > sum',
}
# A script that does all that the job does, but for the manifest and the protocol.
SAME = {
    'pg_dump': r"""
        pg_dump -Fc -d orders | tee dump | sha256sum > sum
        psql -XqAt -d orders > rows <<'SQL'
SELECT format('SELECT %L, count(*) FROM %I', tablename, tablename) FROM pg_tables WHERE schemaname = 'public' \gexec
SQL
        pg_dumpall --roles-only --no-role-passwords > roles
        sync dump rows roles
        sha256sum < dump | cmp - sum
        pg_restore -f /dev/null dump""",
    'pg_basebackup': """
        pg_basebackup -D - -Ft -X fetch -z -c fast | tee base.tar.gz | sha256sum > sum
        sync base.tar.gz
        sha256sum < base.tar.gz | cmp - sum
        mkdir verify
        tar -xzf base.tar.gz -C verify
        pg_verifybackup -q verify
        rm -r verify""",
}

# seconds; seconds; of them the runner's own; {program: bytes}
Measured = collections.namedtuple('Measured', 'wall cpu own memory')
TICKS = os.sysconf('SC_CLK_TCK')


def children(pid):
    for path in glob.glob(f'/proc/{pid}/task/*/children'):
        try:
            with open(path) as f:
                for child in f.read().split():
                    yield child
                    yield from children(child)
        except OSError:
            pass            # it has ended


def look(pid, memory, own):
    """Notes the most that each program of a family has held until now, and what the runner's have computed."""
    for process in [pid, *children(pid)]:
        try:
            with open(f'/proc/{process}/status') as f:
                status = dict(line.split(':', 1) for line in f)
            name, most = status['Name'].strip(), int(status['VmHWM'].split()[0]) * 1024
            with open(f'/proc/{process}/stat') as f:
                spent = sum(int(ticks) for ticks in f.read().rsplit(')', 1)[1].split()[11:13]) / TICKS
        except (OSError, KeyError):
            continue        # it has ended
        if name != 'python3':       # ours, before it becomes the program
            memory[name] = max(memory.get(name, 0), most)
        if name == RUNNER:
            own[process] = spent


def measure(argv, environment, directory):
    memory, own, ended = {}, {}, threading.Event()
    start = time.monotonic()
    with open(f'{TOP}/log', 'w') as log:
        process = subprocess.Popen(argv, env={**os.environ, **environment}, cwd=directory, stdout=log, stderr=log)

    def watch():
        while not ended.wait(0.03):
            look(process.pid, memory, own)
    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = status
    ended.set()
    watcher.join()
    if status != 0:
        with open(f'{TOP}/log') as log:
            sys.exit(f'{argv} failed:\n{log.read()}')
    return Measured(wall, usage.ru_utime + usage.ru_stime, sum(own.values()), memory)


def in_new_directory(do):
    directory = f'{TOP}/destination/made'
    os.mkdir(directory)
    measured = do(directory)
    shutil.rmtree(directory)
    return measured


def by_script(script, cluster):
    return in_new_directory(lambda directory: measure(['bash', '-e', '-o', 'pipefail', '-c', script], {'PGHOST': f'{TOP}/{cluster}'}, directory))


def by_runner(method, cluster):
    by_runner.jobs += 1
    job = f'5e0b9a52-0000-4000-8000-{by_runner.jobs:012d}'

    def do(directory):
        psql('control', f"""INSERT INTO walwarden.job (id, kind, job) VALUES ('{job}', 'backup', '{json.dumps({
            'id': job, 'kind': 'backup', 'orgId': '0b6e1f9c-2f0c-4a57-9a52-7d1c3c6e0001', 'databaseId': '7c1f0b62-0000-4000-8000-000000000001',
            'database': {'id': '7c1f0b62-0000-4000-8000-000000000001', 'name': 'Orders', 'connectionRef': cluster, 'method': method},
            'destination': {'id': '7c1f0b62-0000-4000-8000-000000000002', 'provider': 'local', 'uri': f'file://{directory}'}})}')""")
        measured = measure([os.environ['RUNNER'], '--config', f'{TOP}/runner.conf', '--once'], {}, directory)
        if psql('control', f"SELECT state FROM walwarden.job WHERE id = '{job}'") != [['completed']]:
            sys.exit(f'the job of {method} is not completed')
        return measured
    return in_new_directory(do)


by_runner.jobs = 0


def write(name, text, mode=0o600):
    with open(f'{TOP}/{name}', 'w') as f:
        os.chmod(f.fileno(), mode)
        f.write(text)


def set_up():
    """The runner, and its control database: the stand-in that its tests use."""
    os.mkdir(TOP)
    for name in ('work', 'state', 'destination'):
        os.mkdir(f'{TOP}/{name}', 0o700)
    run('createdb', 'control')
    token = 'wal_' + os.urandom(32).hex()
    run('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'control', '-f', 'test/runner/stand_in.sql')
    psql('control', f"INSERT INTO walwarden.token (token) VALUES ('{token}')")
    write('token', token + '\n')
    write('services', ''.join(f'[{name}]\nhost={TOP}/{name}\nport=5432\nuser=postgres\ndbname=orders\n' for name in SIZES))
    write('runner.conf', f"""control = host={os.environ['PGHOST']} port=5432 user=postgres dbname=control
token_file = {TOP}/token
node = bench
services = {TOP}/services
local_root = {TOP}/destination
work = {TOP}/work
state = {TOP}/state
bindir.{os.environ['PGVERSION']} = {os.path.dirname(shutil.which('pg_dump'))}
""")


def start(cluster, rows):
    """A protected cluster with the database orders. Returns how large that is, in words."""
    data, host = f'{TOP}/{cluster}.data', f'{TOP}/{cluster}'
    os.mkdir(host)
    run('initdb', '--auth=trust', '--username=postgres', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync', '-D', data)
    with open(f'{data}/postgresql.conf', 'a') as f:
        f.write(f"listen_addresses = ''\nunix_socket_directories = '{host}'\nautovacuum = off\nfsync = off\nmax_wal_size = '512MB'\n")
    run('pg_ctl', '-s', '-w', '-D', data, '-l', f'{data}.log', 'start')
    run('createdb', 'orders', PGHOST=host)
    run('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-v', f'rows={rows}', '-d', 'orders', '-f', 'bench/runner.sql', PGHOST=host)
    size = int(run('psql', '-XqAt', '-d', 'orders', '-c', 'SELECT pg_database_size(current_database())', PGHOST=host))
    return f'{size / 1e9:.1f} GB' if size > 1e9 else f'{size / 1e6:.0f} MB'


def stop(cluster):
    run('pg_ctl', '-s', '-m', 'immediate', '-D', f'{TOP}/{cluster}.data', 'stop')
    shutil.rmtree(f'{TOP}/{cluster}.data')


def seconds(values):
    return f'{statistics.median(values):.2f} s'


def megabytes(values):
    return f'{statistics.median(values) / 1e6:.1f} MB'


def biggest(measured):
    return max(measured.memory.items(), key=lambda item: item[1])


def compare(what, ours, other, others, value, shown):
    """A row: a value of each round of either side, and their ratio."""
    a, b = [value(m) for m in ours], [value(m) for m in others]
    row(what, shown(a), f'{other}: {shown(b)}', [x / y for x, y in zip(a, b)])


def measure_method(method, cluster, size, warm_up, rounds):
    alone, same, ours = [], [], []
    for _ in range(warm_up + rounds):
        alone.append(by_script(ALONE[method], cluster))
        same.append(by_script(SAME[method], cluster))
        ours.append(by_runner(method, cluster))
        print(f'   {method}, {size}:', ', '.join(seconds([m[-1].wall]) for m in (alone, same, ours)), file=sys.stderr)
    alone, same, ours = alone[warm_up:], same[warm_up:], ours[warm_up:]
    job = f'a {method} job, {size}'
    for others, name in ((alone, f'{method} and sha256sum'), (same, 'a script that does the same')):
        compare(f'{job}: time', ours, name, others, lambda m: m.wall, seconds)
        compare(f'{job}: processor', ours, name, others, lambda m: m.cpu, seconds)
    row(f'{job}: processor, of the runner itself', seconds([m.own for m in ours]), f'of all: {seconds([m.cpu for m in ours])}', [m.own / m.cpu for m in ours])
    compare(f'{job}: memory of its largest program, {biggest(ours[-1])[0]}', ours, f'of the script: {biggest(same[-1])[0]}', same,
            lambda m: biggest(m)[1], megabytes)
    return ours


def main():
    set_up()
    sizes, jobs = {}, {}
    for cluster, (rows, *rounds) in SIZES.items():
        try:
            sizes[cluster] = start(cluster, rows)
            for method in ALONE:
                jobs[method, cluster] = measure_method(method, cluster, sizes[cluster], *rounds)
        finally:
            stop(cluster)
    if SMALL:
        return
    for method in ALONE:
        few, many = jobs[method, 'small'], jobs[method, 'large']
        for what, value in (('the runner itself', lambda m: m.memory[RUNNER]), ('its largest program', lambda m: biggest(m)[1])):
            a, b = [value(m) for m in many], [value(m) for m in few]
            row(f'a {method} job: memory of {what}', f"{sizes['large']}: {megabytes(a)}", f"{sizes['small']}: {megabytes(b)}",
                [x / statistics.median(b) for x in a], 1.1, most=True)


if __name__ == '__main__':
    main()
