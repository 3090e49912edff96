# Time passes after the snapshot was taken: what is wrong with the order of things shows.
/^token_status_of_credential(/,/^}/{
/snapshot = RegisterSnapshot(GetLatestSnapshot());/a\
		pg_usleep(500);
}
