// Schedules against a second implementation: cron-parser. Two differences are known. A day
// field */1 is restricted there, so that the other one does not limit it; and a list that
// holds a number twice is refused there.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CronExpressionParser } from 'cron-parser'
import { sqlJson } from './lib.mjs'

// always the same numbers
let state = 20261129
const random = (n) => {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
  return (state >> 8) % n
}
const between = (low, high) => low + random(high - low + 1)

const fields = [[0, 59], [0, 23], [1, 31], [1, 12], [0, 7]]
function item (low, high) {
  const first = between(low, high)
  switch (random(5)) {
    case 0: return `*/${between(1, high)}`
    case 1: return `${first}-${between(first, high)}`
    case 2: return `${first}-${between(first, high)}/${between(1, high)}`
    default: return String(first)
  }
}
const field = ([low, high]) => random(3) === 0 ? '*' : Array.from({ length: 1 + random(3) * random(2) }, () => item(low, high)).join(',')

const said = [
  '0 0 29 2 *', '0 0 29 2 1', '59 23 31 12 *', '0 0 1 1 *', '0 0 31 * *', '0 0 30 * *', '0 0 * 2 *', '0 12 13 * 5', '0 12 */2 * 5',
  '0 12 */1 * 5', '0 12 13 * */1', '0 12 */1 * */1', '0 12 1-31 * 5', '0 0 * * 0', '0 0 * * 7', '0 0 * * 5-7', '0 0 * * 0-7', '*/59 */23 * * *', '05 03 01 01 *']
const schedules = [...said, ...Array.from({ length: 1800 }, () => fields.map(field).join(' '))]
const times = [
  '2026-11-29T02:10:42Z', '2026-12-31T23:59:00Z', '2026-12-31T23:58:59.999Z', '2027-02-28T23:59:30Z', '2028-02-28T23:59:59Z', '2028-02-29T00:00:00Z',
  '2028-02-29T12:00:00Z', '2099-12-31T23:59:59Z', '2100-02-28T23:59:00Z', '1999-12-31T23:59:59Z', '1970-01-01T00:00:00Z', '2096-02-29T00:00:00Z']
const cases = schedules.map((schedule, n) => ({ n, schedule, after: times[n % times.length] }))
const places = 6

test('1,000 schedules have the next times of a second implementation', () => {
  const rows = sqlJson(`
    WITH RECURSIVE c AS (SELECT * FROM jsonb_to_recordset('${JSON.stringify(cases)}') AS c(n integer, schedule text, after timestamptz)),
    r AS (SELECT n, schedule, walwarden.cron_next(schedule, after) AS t, 1 AS place FROM c WHERE walwarden_internal.is_cron(schedule)
          UNION ALL SELECT n, schedule, walwarden.cron_next(schedule, t), place + 1 FROM r WHERE place < ${places})
    SELECT n, array_agg(extract(epoch FROM t)::bigint * 1000 ORDER BY place) AS times FROM r GROUP BY n`)
  const found = new Map(rows.map((row) => [row.n, row.times]))
  let compared = 0
  for (const { n, schedule, after } of cases) {
    const others = schedule.split(' ').map((text, i) => (i === 2 || i === 4) && text === '*/1' ? '*' : text).join(' ')
    let expected
    try {
      const parsed = CronExpressionParser.parse(others, { currentDate: new Date(after), tz: 'UTC' })
      expected = Array.from({ length: places }, () => parsed.next().getTime())
    } catch (error) {
      if (/duplicate values/.test(error.message)) continue
      assert.equal(found.has(n), false, `${schedule}: ${error.message}`)
      continue
    }
    assert.deepEqual(found.get(n), expected, `${schedule} after ${after}`)
    compared++
  }
  assert.ok(compared >= 1000, `compared ${compared}`)
})

test('the known differences', () => {
  const next = (text) => CronExpressionParser.parse(text, { currentDate: new Date('2026-11-29T12:00:00Z'), tz: 'UTC' }).next().toISOString()
  assert.equal(next('0 12 * * 5'), '2026-12-04T12:00:00.000Z')
  assert.equal(next('0 12 */1 * 5'), '2026-11-30T12:00:00.000Z')
  assert.throws(() => next('0,*/5 * * * *'), /duplicate values/)
  const [{ ours }] = sqlJson("SELECT walwarden.cron_next('0 12 */1 * 5', '2026-11-29 12:00+00') = '2026-12-04 12:00+00' AS ours")
  assert.equal(ours, true)
})
