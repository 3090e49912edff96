# Wrong: stored under the present generation, whatever happened since the snapshot.
s/^\treturn generation == invalidation_generation &&$/\treturn/
s/^\tentry->generation = generation;$/\tentry->generation = invalidation_generation;/
