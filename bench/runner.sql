-- A protected database for bench/runner.py: eight tables of :rows rows, of numbers, times,
-- random bytes and phrases.
SELECT format($sql$
    CREATE TABLE item_%1$s AS
        SELECT i AS id, timestamptz '2026-01-01' + i * interval '7 s' AS at, gen_random_uuid() AS account,
               (random() * 100000)::numeric(12,2) AS amount, %3$s || '; ' || %3$s || '; ' || %3$s AS note
          FROM generate_series(1, %2$s) AS i;
    ALTER TABLE item_%1$s ADD PRIMARY KEY (id)$sql$, t, :rows, $sql$(ARRAY['ordered by telephone, to be collected at the branch', 'paid in full on delivery, the receipt is signed',
           'returned unopened, the carrier has been told', 'no answer at the door, to be tried again tomorrow',
           'part of the order is late and follows by post', 'address changed at the wish of the customer'])[1 + floor(random() * 6)]$sql$)
  FROM generate_series(1, 8) AS t \gexec
VACUUM (ANALYZE);
CHECKPOINT;
