# SPDX-License-Identifier: MIT
# npool: artefacts only under build/. `make help` lists what there is.

B       := build
ifeq ($(origin CC),default)
CC      := gcc
endif
CFLAGS  ?= -O2 -g
VERSION := 0.1.0
SOMAJOR := 0

PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
INCDIR  ?= $(PREFIX)/include
MANDIR  ?= $(PREFIX)/share/man

CACHE   := $(or $(NPOOL_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/npool)
KSRC    ?= $(CACHE)/linux-source-6.12
KSELFTEST := $(KSRC)/tools/testing/selftests
# The driver is built for the test VM's kernel, or for the one whose build tree is KDIR.
KERNEL  := $(if $(KDIR),local,debian)

WARN    := -Wall -Wextra -Werror
DEPS    := libdrm libxxhash json-c
npool_cflags = -std=gnu11 $(WARN) -fvisibility=hidden -Ilibaccel/include -Ilibaccel -Iuapi -Idriver \
	   -D_GNU_SOURCE -DACCEL_VERSION='"$(VERSION)"' -pthread -MMD -MP
npool_cflags += $(shell pkg-config --cflags $(DEPS) 2>/dev/null)
LIBS    = $(shell pkg-config --libs libdrm libxxhash 2>/dev/null) -pthread -lm
TOOLLIBS = $(shell pkg-config --libs json-c 2>/dev/null)

# The arbiter is the driver's.
lib_src  := $(sort $(wildcard libaccel/*.c libaccel/*/*.c driver/qos*.c))
lib_obj  := $(lib_src:%.c=$(B)/obj/%.o)
tool_src := $(sort $(wildcard tools/*.c))
tool_obj := $(tool_src:%.c=$(B)/obj/%.o)
sim_src  := $(sort $(wildcard tools/qos-sim/*.c))
sim_obj  := $(sim_src:%.c=$(B)/obj/%.o)
# Every tests/*/NAME.c is a program of its own; what they share is in tests/*.h.
test_src := $(sort $(wildcard tests/host/*.c tests/conformance/*.c tests/driver/*.c \
	      tests/tools/helper/*.c))
test_bin := $(test_src:tests/%.c=$(B)/tests/%)

all: lib tools

help:
	@sed -n 's/^#: //p' Makefile

#: make demo		replay an hour of generated chat traffic, or of NPOOL_TRACE, on a soft pool
#: make check		all tests: the host part, then the driver in a VM
#: make check-host		only what needs no kernel
#: make check-vm		only the VM part, on Debian's kernel 6.12
#: make check-debug	the VM part on a kernel with KASAN, lockdep, kmemleak, fault injection
#: make lint		checkpatch, sparse, kernel-doc, shellcheck, house rules
#: make bench		speed against peers on this machine
#: make bench-uml		speed of the driver in user-mode Linux
#: make bench-vm		what the driver's calls cost, in the VM
#: make all		build/libaccel.so, build/libaccel.a, build/accelctl, build/qos-sim
#: make module		build/npool.ko and build/npool_sim.ko; KDIR=/lib/modules/... for a kernel of yours
#: make tests		the test programs
#: make install		DESTDIR= PREFIX= LIBDIR= INCDIR= MANDIR=
#: make clean		removes build/, not what is cached in ~/.cache/npool

lib: $(B)/libaccel.a $(B)/libaccel.so
tools: $(B)/accelctl $(if $(sim_src),$(B)/qos-sim)
tests: $(test_bin)

# What was built with other flags is built again.
quote = '$(subst ','\'',$(1))'
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo $(call quote,$(CC) $(npool_cflags) $(CFLAGS)) | cmp -s - $@ || \
		echo $(call quote,$(CC) $(npool_cflags) $(CFLAGS)) > $@

$(B)/obj/%.o: %.c $(B)/flags
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

$(B)/qos-sim: $(sim_obj) $(B)/libaccel.a
	$(CC) $(CFLAGS) $^ $(LIBS) $(TOOLLIBS) -o $@

# The peer of accelctl bench ep, for this CPU alone.
$(B)/ep-mpi: tools/ep-mpi/main.c tools/bench_ep.h
	@mkdir -p $(@D)
	mpicc -std=gnu11 $(WARN) -D_GNU_SOURCE -O3 -march=native $< -o $@

$(B)/tests/%: tests/%.c $(B)/libaccel.a $(B)/flags | $(KSELFTEST)/kselftest_harness.h
	@mkdir -p $(@D)
	$(CC) -Itests $(npool_cflags) -I$(KSELFTEST) $(CFLAGS) $< $(B)/libaccel.a $(LIBS) -o $@

$(KSELFTEST)/kselftest_harness.h:
	@tests/deps.sh source
	@tests/vm/kernel source

module:
	@tests/deps.sh module
	+@tests/vm/module $(KERNEL)
	@cp -u build/kmod-$(KERNEL)/npool.ko build/kmod-$(KERNEL)/npool_sim.ko build/

demo:
	@tests/deps.sh demo
	@echo "npool: building"
	+@$(MAKE) --no-print-directory -s tools
	@$(B)/accelctl replay --pool "soft:demo-$$$$" --workers 2 --verify \
		$${NPOOL_TRACE:+--trace "$$NPOOL_TRACE"}

check:
	+@tests/check host vm

check-host:
	+@tests/check host

check-vm:
	+@tests/check vm

check-debug:
	+@tests/check debug

lint:
	+@tests/check lint

bench bench-uml:
	@tests/deps.sh bench
	+@$(MAKE) --no-print-directory -s all
	+@tests/bench/$(if $(filter bench,$@),run,uml)

bench-vm: $(B)/tests/bench/vm_calls $(B)/accelctl
	@tests/deps.sh check
	@tests/vm/run debian -- $<
	@tests/vm/run debian -- tests/bench/qos

pc = $(DESTDIR)$(LIBDIR)/pkgconfig/accel.pc
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBDIR)/pkgconfig \
		$(DESTDIR)$(INCDIR)/accel $(DESTDIR)$(INCDIR)/drm
	install $(B)/accelctl $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(B)/libaccel.so $(DESTDIR)$(LIBDIR)/libaccel.so.$(VERSION)
	ln -sf libaccel.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libaccel.so.$(SOMAJOR)
	ln -sf libaccel.so.$(SOMAJOR) $(DESTDIR)$(LIBDIR)/libaccel.so
	install -m 644 $(B)/libaccel.a $(DESTDIR)$(LIBDIR)/
	install -m 644 libaccel/include/accel/*.h $(DESTDIR)$(INCDIR)/accel/
	install -m 644 uapi/drm/npool_accel.h $(DESTDIR)$(INCDIR)/drm/
	sed -e 's,@PREFIX@,$(PREFIX),;s,@LIBDIR@,$(LIBDIR),;s,@INCDIR@,$(INCDIR),' \
		-e 's,@VERSION@,$(VERSION),' libaccel/accel.pc.in > $(pc)
	for page in docs/man/*.[1-9]; do \
		install -D -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit; \
	done

clean:
	rm -rf build

-include $(lib_obj:.o=.d) $(tool_obj:.o=.d) $(sim_obj:.o=.d) $(test_bin:=.d) $(wildcard $(B)/tests/bench/*.d)

.PHONY: all help lib tools tests module demo check check-host check-vm check-debug lint bench \
	bench-uml bench-vm install clean FORCE
