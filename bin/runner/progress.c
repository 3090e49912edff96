/*
 * progress.c
 *		How far a job has come, in memory that its process shares with the supervisor.
 */
#include "progress.h"

#include "text.h"

static const char *const phases[PHASE_COUNT] = {"starting", "copying", "verifying", "downloading", "restoring", "checking", "finishing"};

char *
progress_json(const Progress *progress)
{
	Buffer		json = {0};
	int64_t		done = progress->bytes_done;
	int64_t		total = progress->bytes_total;
	int			phase = progress->phase;

	buffer_format(&json, "{\"phase\": \"%s\"", phases[phase >= 0 && phase < PHASE_COUNT ? phase : PHASE_STARTING]);
	if (done > 0)
		buffer_format(&json, ", \"bytesDone\": %lld", (long long) done);
	if (total > 0)
	{
		buffer_format(&json, ", \"bytesTotal\": %lld", (long long) total);
		if (done >= 0)
			buffer_format(&json, ", \"percent\": %d", done >= total ? 100 : (int) ((double) done * 100 / (double) total));
	}
	buffer_text(&json, "}");
	return json.data;
}
