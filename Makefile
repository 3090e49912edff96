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
OBJS       = $(patsubst %.c,%.o,$(wildcard src/*.c src/*/*.c))
# Exported is what src/base/export.h marks and nothing else.
override PG_CPPFLAGS += -Isrc -fvisibility=hidden

# The install script is its parts, in this order: a wing knows the wings above it in
# this list and none below. 9_close knows all; it closes every object, and the grants
# follow.
SCHEMA     = $(patsubst %,sql/schema/%.sql, \
             $(addprefix 1_base/, begin text time json json_schema lock guard) \
             $(addprefix 2_audit/, entry kind verify proof rows) \
             $(addprefix 3_token/, catalogue tables server_role caller identity actor usage role_grant org member scope \
                                   bounds token list round lifecycle legacy leak statistics grant_list audit search rows) \
             $(addprefix 4_backup/, signature node tables schemas job evidence checkpoint alarm destination recovery schedule retention rows) \
             $(addprefix 5_rest/, schemas catalogue descriptions request resources jobs recovery export leak tag openapi rows) \
             $(addprefix 6_people/, session member schemas operations sign_in orgs tokens members page) \
             $(addprefix 9_close/, structure verify monitor maintenance copy org openapi guard comments acl) \
             $(addsuffix /grants, 3_token 4_backup 5_rest 6_people 9_close))

# Deltas of released versions are kept as they were installed; the one to the version in
# work is made: what sql/upgrade has of it is the part that is written by hand.
HAND       = $(wildcard sql/upgrade/*--$(EXTVERSION).sql)
DELTA      = $(HAND:sql/upgrade/%=walwarden--%)
DATA       = $(wildcard sql/released/walwarden--*--*.sql)
DATA_built = walwarden--$(EXTVERSION).sql $(DELTA)
EXTRA_CLEAN = walwarden--*.sql walwarden-*.zip

# Each suite has its own databases, in UTF8 and with a matching locale, regardless of the
# cluster.
REGRESS_OPTS   = --encoding=UTF8 --no-locale
REGRESS        = catalogue errors
ISOLATION      = chain lifecycle ended uses snapshots managers revoke rewrite waits close jobs schedule checkpoint signin sessions schemas credential
ISOLATION_OPTS = --encoding=UTF8 --no-locale --inputdir=test/isolation --outputdir=output_iso

PG_CONFIG ?= pg_config

# src/base/digest.c and src/common/signature.c call OpenSSL if the server does. Its
# configuration header says so.
ifneq ($(shell grep -sx '.define USE_OPENSSL 1' $$($(PG_CONFIG) --includedir-server 2>/dev/null)/pg_config*.h),)
override PG_CPPFLAGS += -DWALWARDEN_OPENSSL
SHLIB_LINK += -lcrypto
endif

PGXS      := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(PGXS),)
include $(PGXS)
else
all install installcheck:
	@echo "$(PG_CONFIG) is missing: install postgresql-server-dev-15 or set PG_CONFIG" >&2; exit 1
endif

# The library calls its own exported functions even if a library loaded earlier exports the
# same names. Linkers other than ELF do so anyway.
ifneq ($(PORTNAME),darwin)
SHLIB_LINK += -Wl,-Bsymbolic
endif

# A line @web/FILE of a part stands for the file.
WEB = $(addprefix web/, index.html page.css page.js page.svg)

walwarden--$(EXTVERSION).sql: $(SCHEMA) $(WEB) walwarden.control
	cat $(SCHEMA) | sed $(foreach f,$(WEB),-e '\,^@$(f)$$,{r $(f)' -e 'd;}') > $@

walwarden--%--$(EXTVERSION).sql: sql/upgrade/%--$(EXTVERSION).sql sql/released/walwarden--%.sql walwarden--$(EXTVERSION).sql sql/upgrade/head.sql sql/make_delta
	perl sql/make_delta sql/released/walwarden--$*.sql walwarden--$(EXTVERSION).sql $< > $@

$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*/*.h)

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
	test/run docs

DISTDIR ?= .

# What PGXN takes: everything under one directory with the name of the file.
dist:
	git archive --format=zip --prefix=$(EXTENSION)-$(EXTVERSION)/ -o $(DISTDIR)/$(EXTENSION)-$(EXTVERSION).zip HEAD
