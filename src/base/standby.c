/*
 * standby.c
 *		Whether a standby is too far behind to answer: walwarden.max_standby_lag.
 *
 * A standby that has lost its primary, or is catching up with it, answers from an old state.
 * So it answers only while it streams, the last message of its primary was sent and received
 * within the setting, and either
 * - the last commit that it has applied is as recent, which suffices if the primary is busy, or
 * - it has applied all WAL that the primary had then, which suffices if the primary is idle.
 *
 * While the primary has nothing to say, the WAL receiver asks it for a sign of life after
 * half of wal_receiver_timeout. Until version 18, a WAL receiver counts as streaming before it
 * has connected, and it counts as having heard something before the primary has agreed to
 * stream. It then has one time for three things, which the first message sets. (Should the
 * clocks make them equal again, the next message decides.)
 *
 * A message with WAL says how much the primary has flushed. A sign of life says how much was
 * put into messages, in place of that. If more was to be sent, this is the end of a page, where
 * few records end, so it is hardly ever applied up to there: until the next message the
 * standby is behind. At the end of an old timeline, the primary says how long that one is. What
 * follows belongs to the next one: until a record of it is applied, the standby is behind.
 *
 * Invariant: if it is not behind, it has applied everything that the primary had committed
 * walwarden.max_standby_lag ago, but for this: clocks may differ by as much as the setting;
 * what a sign of life says was true when the last WAL was put into a message, which may have
 * waited for less than wal_receiver_timeout; a record may end with the page; and the end of an
 * old timeline takes effect a moment after its last record.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "replication/walreceiver.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "base/standby.h"

/* How often, and after how many microseconds each, it is asked whether WAL was applied. */
#define APPLY_ATTEMPTS 50
#define APPLY_WAIT 1000

/* A time in the future shows that a clock is wrong. */
static bool
is_recent(TimestampTz at, TimestampTz now)
{
	return !TimestampDifferenceExceeds(at, now, walwarden_max_standby_lag) &&
		!TimestampDifferenceExceeds(now, at, walwarden_max_standby_lag);
}

/*
 * Whether a message said how much there is, and not only how much was sent: that is no more
 * than what has been written here. Right after the start nothing has.
 */
static bool
says_all(XLogRecPtr end)
{
	XLogRecPtr	written = GetWalRcvWriteRecPtr();

	return written != InvalidXLogRecPtr && end > written;
}

/*
 * Whether all WAL that the primary had is applied, or will be in a moment: what has just
 * arrived takes some time. end: what the last message said. If that was what was sent, more
 * may have arrived since, with a message that says how much there is. It was noted before
 * what it brought was written, so it is read after what is applied.
 */
static bool
has_applied(XLogRecPtr end, TimeLineID timeline)
{
	bool		all = says_all(end);

	for (int i = 0; i < APPLY_ATTEMPTS; i++)
	{
		TimeLineID	applied;
		XLogRecPtr	said;

		if (i > 0)
			pg_usleep(APPLY_WAIT);
		if (GetXLogReplayRecPtr(&applied) < end || applied != timeline)
			continue;
		SpinLockAcquire(&WalRcv->mutex);
		said = WalRcv->latestWalEnd;
		SpinLockRelease(&WalRcv->mutex);
		if (all || said == end)
			return true;
		end = said;
		all = says_all(end);
	}
	return false;
}

/* Whether this is a standby that must not answer. */
bool
standby_is_behind(void)
{
	TimestampTz now;
	TimestampTz sent;
	TimestampTz received;
	XLogRecPtr	end;
	TimeLineID	timeline;
	bool		streams;

	if (walwarden_max_standby_lag == 0 || !RecoveryInProgress())
		return false;
	SpinLockAcquire(&WalRcv->mutex);
	sent = WalRcv->lastMsgSendTime;
	received = WalRcv->lastMsgReceiptTime;
	end = WalRcv->latestWalEnd;
	timeline = WalRcv->receivedTLI;
	streams = WalRcv->ready_to_display && WalRcv->walRcvState == WALRCV_STREAMING &&
		!(sent == received && sent == WalRcv->latestWalEndTime);
	SpinLockRelease(&WalRcv->mutex);
	now = GetCurrentTimestamp();
	return !streams || !is_recent(sent, now) || !is_recent(received, now) ||
		!(is_recent(GetLatestXTime(), now) || has_applied(end, timeline));
}
