# SPDX-License-Identifier: MIT
# npool: artefacts only under build/. `make help` lists what there is.

B       := build
CC      ?= gcc
CFLAGS  ?= -O2 -g
PREFIX  ?= /usr/local
VERSION := 0.1.0
SOMAJOR := 0

CACHE   := $(or $(NPOOL_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/npool)
KSRC    ?= $(CACHE)/linux-source-6.12
KSELFTEST := $(KSRC)/tools/testing/selftests

WARN    := -Wall -Wextra -Werror
DEPS    := libdrm libxxhash json-c
npool_cflags = -std=gnu11 $(WARN) -fvisibility=hidden -Ilibaccel/include -Ilibaccel -Iuapi \
	   -D_GNU_SOURCE -DACCEL_VERSION='"$(VERSION)"' -pthread -MMD -MP
npool_cflags += $(shell pkg-config --cflags $(DEPS) 2>/dev/null)
LIBS    = $(shell pkg-config --libs libdrm libxxhash 2>/dev/null) -pthread -lm
TOOLLIBS = $(shell pkg-config --libs json-c 2>/dev/null)

lib_src  := $(sort $(wildcard libaccel/*.c libaccel/*/*.c))
lib_obj  := $(lib_src:%.c=$(B)/obj/%.o)
tool_src := $(sort $(wildcard tools/*.c))
tool_obj := $(tool_src:%.c=$(B)/obj/%.o)
# Every tests/*/NAME.c is a program of its own; what they share is in tests/*.h.
test_src := $(sort $(wildcard tests/host/*.c tests/conformance/*.c tests/driver/*.c))
test_bin := $(test_src:tests/%.c=$(B)/tests/%)

all: lib tools

lib: $(B)/libaccel.a $(B)/libaccel.so
tools: $(B)/accelctl
tests: $(test_bin)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(npool_cflags) $(CFLAGS) -fPIC -c $< -o $@

$(B)/libaccel.a: $(lib_obj)
	@rm -f $@
	ar rcs $@ $^

$(B)/libaccel.so: $(lib_obj) libaccel/libaccel.map
	$(CC) $(CFLAGS) -shared -Wl,-soname,libaccel.so.$(SOMAJOR) \
		-Wl,--version-script=libaccel/libaccel.map -Wl,--no-undefined \
		$(lib_obj) $(LIBS) -o $@

$(B)/accelctl: $(tool_obj) $(B)/libaccel.a
	$(CC) $(CFLAGS) $^ $(LIBS) $(TOOLLIBS) -o $@

$(B)/tests/%: tests/%.c $(B)/libaccel.a
	@mkdir -p $(@D)
	$(CC) $(npool_cflags) -I$(KSELFTEST) -Itests $(CFLAGS) $< $(B)/libaccel.a $(LIBS) -o $@

clean:
	rm -rf $(B)

-include $(lib_obj:.o=.d) $(tool_obj:.o=.d) $(test_bin:=.d)

.PHONY: all lib tools tests clean
