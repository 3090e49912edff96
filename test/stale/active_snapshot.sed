# Wrong: the statement's snapshot, which is older than the messages taken in.
/^token_status_of_credential(/,/^}/s/RegisterSnapshot(GetLatestSnapshot())/RegisterSnapshot((pg_usleep(500), AcceptInvalidationMessages(), *generation = invalidation_generation, GetActiveSnapshot()))/
s/^#include "utils\/snapmgr.h"$/&\n#include "utils\/inval.h"/
