# Wrong: the generation is read after the rows.
s/^\t\t\*generation = invalidation_generation;$//
s/^\t\tconsistent = reading_consistent(&reading);$/&\n\t\t*generation = invalidation_generation;/
