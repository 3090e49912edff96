# Wrong: the generation is read after the rows.
s/^\t\t\*generation = cache_generation;$//
s/^\t\tconsistent = reading_consistent(&reading);$/&\n\t\t*generation = cache_generation;/
