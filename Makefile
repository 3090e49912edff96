# walwarden, a PostgreSQL extension. Plain PGXS:
#     make && make install && make installcheck
# Without a server or any set-up (see README.md):
#     make demo
#     make test
#     make test-servers   (root, Debian: on the other servers too)
#     make bench
#     make fuzz
#     make check-static
# For PGXN, from the commit that is checked out:
#     make dist

EXTENSION  = walwarden
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" walwarden.control)

MODULE_big = walwarden
OBJS       = $(patsubst %.c,%.o,$(wildcard src/*.c))

# The install script is its parts, in the order of their names.
SCHEMA     = $(sort $(wildcard sql/schema/*.sql))
DATA       = $(wildcard sql/upgrade/walwarden--*--*.sql)
DATA_built = walwarden--$(EXTVERSION).sql
EXTRA_CLEAN = walwarden--*.sql walwarden-*.zip

REGRESS        = catalogue errors
ISOLATION      = chain lifecycle ended uses snapshots managers revoke
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=output_iso

PG_CONFIG ?= pg_config

# src/digest.c calls OpenSSL where the server does; its headers say so, under any
# build system and in whichever of them a distribution keeps the answer.
ifneq ($(shell grep -sx '.define USE_OPENSSL 1' $$($(PG_CONFIG) --includedir-server 2>/dev/null)/pg_config*.h),)
SHLIB_LINK += -lcrypto
endif

PGXS      := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(PGXS),)
include $(PGXS)
else
all install installcheck:
	@echo "$(PG_CONFIG) is missing: install postgresql-server-dev-15 or set PG_CONFIG" >&2; exit 1
endif

walwarden--$(EXTVERSION).sql: $(SCHEMA) walwarden.control
	cat $(SCHEMA) > $@

$(OBJS): $(wildcard src/*.h)

# All set up all they need in a temporary directory and remove it again.
.PHONY: demo test test-servers fuzz check-static bench docs dist
demo:
	test/run demo
test:
	test/run test
test-servers:
	test/servers
fuzz:
	test/run fuzz
check-static:
	test/run static
bench:
	SCALE=$(SCALE) test/run bench
docs:
	for page in $(patsubst docs/%.psql,%,$(wildcard docs/*.psql)); do \
	    test/run docs $$page > docs/$$page.md.new && mv docs/$$page.md.new docs/$$page.md || exit 1; \
	done

DISTDIR ?= .

# What PGXN takes: everything under one directory with the name of the file.
dist:
	git archive --format=zip --prefix=$(EXTENSION)-$(EXTVERSION)/ -o $(DISTDIR)/$(EXTENSION)-$(EXTVERSION).zip HEAD
