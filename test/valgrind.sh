# Sourced by test/run. The pgTAP files that run the C most, with every process of the server under memcheck. It fails
# when a test does, when a process reported an error that test/valgrind.supp does not
# have, or when one stands in this library.
#
# The server's allocator is not marked for valgrind, so what is seen is use of what was
# never written and access beyond what malloc() or the stack gave, but not access to
# another piece of the same block: that is what the fuzzing with ASan is for.

valgrind_logs=$WORK/valgrind

run_valgrind() {
    local status=0 ours postmaster
    mkdir "$valgrind_logs"
    POSTGRES=$valgrind_logs/postgres
    cat > "$POSTGRES" <<SH
#!/bin/sh
exec valgrind --leak-check=no --num-callers=40 --trace-children=yes --error-exitcode=99 --fullpath-after= \\
    --suppressions="$PWD/test/valgrind.supp" --log-file="$valgrind_logs/%p.log" "$WORK/pg$bindir/postgres" -c jit=off "\$@"     # LLVM's start is the loader's business
SH
    chmod +x "$POSTGRES"
    start_cluster
    : "${PGTAP:=$(printf 'test/pgtap/%s.sql ' usage identity token rest lifecycle audit)}"
    part_pgtap || status=1
    postmaster=$(head -n 1 "$PGDATA/postmaster.pid")
    pg_ctl -s -w -t 300 -m fast stop || status=1
    trap - EXIT
    # its pid file goes before memcheck has had the last word
    while kill -0 "$postmaster" 2>/dev/null; do sleep 0.1; done

    # with full paths, a frame of this library names a file of the copy
    ours=$(grep -lF "($WORK/src/src/" "$valgrind_logs"/*.log || true)
    if grep -L 'ERROR SUMMARY: 0 errors' "$valgrind_logs"/*.log | grep -q . || [ -n "$ours" ]; then
        grep -hv 'HEAP SUMMARY\|Memcheck\|Copyright' "$valgrind_logs"/*.log | grep -B1 -A40 -E 'Invalid|uninitialised|overlap|Conditional' >&2 || true
        say "FAILED: memcheck reported errors${ours:+, some of them in this library}"
        status=1
    fi
    say "$(find "$valgrind_logs" -name '*.log' | wc -l) processes, $(cat "$valgrind_logs"/*.log | sed -n 's/.*ERROR SUMMARY: \([0-9]*\) errors.*/\1/p' | awk '{ n += $1 } END { print n + 0 }') errors"
    return $status
}
