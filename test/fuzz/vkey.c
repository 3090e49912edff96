/*
 * vkey.c
 *		libFuzzer target for bin/verify/vkey.c: what is accepted has the form of a regular
 *		expression, and the key is written out of its parts once more, byte by byte.
 */
#include <regex.h>
#include <stdio.h>

#include "vkey.h"

#include "base64.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static regex_t form;
	static bool compiled = false;
	char	   *text = exact_copy(data, size);
	VerifierKey key;

	if (!compiled)
		MUST(regcomp(&form, "^[^ +]+\\+[0-9a-f]{8}\\+A[Q-Za-f][A-Za-z0-9+/]{42}\n?$", REG_EXTENDED | REG_NOSUB) == 0);
	compiled = true;
	if (vkey_read(text, size, &key))
	{
		char		again[2 * VKEY_MAX];
		char	   *p = again;
		uint8_t		typed[1 + PUBLIC_KEY_LEN] = {0x01};

		p += sprintf(p, "%s+", key.name);
		for (int i = 0; i < KEY_ID_LEN; i++)
			p += sprintf(p, "%02x", key.id[i]);
		*p++ = '+';
		memcpy(typed + 1, key.public_key, PUBLIC_KEY_LEN);
		p = write64(typed, sizeof(typed), p);
		MUST((size_t) (p - again) == size || (size_t) (p - again) == size - 1);
		MUST(memcmp(again, text, (size_t) (p - again)) == 0);
		*p = '\0';
		MUST(regexec(&form, again, 0, NULL, 0) == 0);
		MUST(strlen(key.name) == key.name_len && key_name_is_well_formed(key.name, key.name_len));
		MUST(key_id_is_valid(key.name, key.name_len, key.public_key, key.id));
		MUST(public_key_is_sound(key.public_key));
	}
	free(text);
	return 0;
}
