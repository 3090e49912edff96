# Wrong: the generation is read after the rows.
s/^\t\t\*generation = \(invalidation_begin();\)$/\t\t(void) \1/
s/^\t\tconsistent = reading_consistent(&reading);$/&\n\t\t*generation = invalidation_generation;/
