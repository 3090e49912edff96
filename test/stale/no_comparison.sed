# Wrong: stored under the present generation, whatever happened since the snapshot.
s/^\treturn generation == cache_generation &&$/\treturn/
s/^\tentry->generation = generation;$/\tentry->generation = cache_generation;/
