# What the programs have in common: each is its directory's sources and src/common. A Makefile
# that includes this sets PROGRAM and LIBS first, and adds flags after it.
#
# Not PGXS, which would link the library's objects and the server's libraries.

prefix    ?= /usr/local
bindir    ?= $(prefix)/bin

CFLAGS    ?= -O2 -g
INSTALL   ?= install

COMMON    = ../../src/common
VERSION  := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" ../../walwarden.control)
OBJS      = $(patsubst %.c,obj/%.o,$(wildcard *.c)) $(patsubst $(COMMON)/%.c,obj/common/%.o,$(wildcard $(COMMON)/*.c))
MADE_BY   = Makefile ../program.mk

override CPPFLAGS += -D_GNU_SOURCE -DWALWARDEN_OPENSSL -I. -I../../src
override CFLAGS   += -std=gnu11 -Wall -Wextra -Wmissing-prototypes -fvisibility=hidden $(CFLAGS_EXTRA)

all: $(PROGRAM)

$(PROGRAM): $(OBJS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(OBJS) $(LIBS)

# All objects depend on all headers: there are few.
obj/%.o: %.c $(wildcard *.h) $(wildcard $(COMMON)/*.h) ../../walwarden.control $(MADE_BY)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

obj/common/%.o: $(COMMON)/%.c $(wildcard $(COMMON)/*.h) $(MADE_BY)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

install: $(PROGRAM)
	$(INSTALL) -d $(DESTDIR)$(bindir)
	$(INSTALL) -m 755 $(PROGRAM) $(DESTDIR)$(bindir)

uninstall:
	rm -f $(DESTDIR)$(bindir)/$(PROGRAM)

clean:
	rm -rf obj $(PROGRAM)

.PHONY: all install uninstall clean
