# Wrong: stored under the present generation, whatever happened since the snapshot.
s/^\treturn invalidation_is_current(generation, key) &&$/\treturn/
s/^\tentry->generation = generation;$/\tentry->generation = invalidation_generation;/
