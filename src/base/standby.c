/*
 * standby.c
 *		Whether a standby is too far behind to answer: walwarden.max_standby_lag.
 *
 * A standby that has lost its primary goes on answering from an old state and cannot tell
 * how old that is. So it answers only while all of this holds: it is connected, it has heard
 * from the primary within the setting, and what it received longer ago has been applied.
 *
 * While the primary has nothing to say, the WAL receiver asks it for a sign of life after
 * half of wal_receiver_timeout. A WAL receiver that starts counts as streaming and as having
 * heard something, even if it cannot connect. It is connected once it shows to whom.
 *
 * Invariant: if it is not behind, it has applied everything that had reached it
 * walwarden.max_standby_lag ago.
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
#define APPLY_ATTEMPTS 10
#define APPLY_WAIT 1000

/*
 * Whether WAL has waited too long to be applied. The server knows only when it last began to
 * apply what was new. After a pause that is long ago, until the startup process has woken
 * up. It then gets the time for that.
 */
static bool
apply_is_behind(void)
{
	XLogRecPtr	received = GetWalRcvFlushRecPtr(NULL, NULL);
	int			delay = GetReplicationApplyDelay();

	if (delay >= 0 && delay <= walwarden_max_standby_lag)
		return false;
	for (int i = 0; i < APPLY_ATTEMPTS; i++)
	{
		if (GetXLogReplayRecPtr(NULL) >= received)
			return false;
		pg_usleep(APPLY_WAIT);
	}
	return true;
}

/* Whether this is a standby that must not answer. */
bool
standby_is_behind(void)
{
	TimestampTz heard;
	bool		connected;

	if (walwarden_max_standby_lag == 0 || !RecoveryInProgress())
		return false;
	SpinLockAcquire(&WalRcv->mutex);
	connected = WalRcv->ready_to_display;
	heard = WalRcv->lastMsgReceiptTime;
	SpinLockRelease(&WalRcv->mutex);
	return !connected ||
		TimestampDifferenceExceeds(heard, GetCurrentTimestamp(), walwarden_max_standby_lag) ||
		apply_is_behind();
}
