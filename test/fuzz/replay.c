/*
 * replay.c
 *		A main() for a target without libFuzzer: runs it over the files that are
 *		named, so that the kept inputs are tests for any compiler.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		FILE	   *file = fopen(argv[i], "rb");
		uint8_t    *bytes = malloc(1 << 20);
		size_t		size;

		if (file == NULL || bytes == NULL)
		{
			perror(argv[i]);
			return 1;
		}
		size = fread(bytes, 1, 1 << 20, file);
		fclose(file);
		fprintf(stderr, "%s\n", argv[i]);	/* the last one is the one that fails */
		LLVMFuzzerTestOneInput(bytes, size);
		free(bytes);
	}
	return 0;
}
