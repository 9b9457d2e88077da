# ngx_pay - the one entry. `make help` lists the targets.
#
#   build/         objects, libraries, programs and the nginx module (gcc, optimised)
#   build-san/     the same under address and undefined-behaviour sanitizers (SAN=1)
#   build-clang/   objects and programs as clang sees them (CC=clang)
#   build-fuzz/    the fuzzers (mk/fuzz.mk)
#   build-cache/   what was fetched once: nginx's sources for static builds
#   run/           the private stack of `make run`

SHELL := /bin/bash
ifeq ($(origin CC),default)
CC := gcc
endif
SAN     ?=
JOBS    ?= $(shell nproc)
CLANG   := $(findstring clang,$(notdir $(CC)))
BUILD   := build$(if $(CLANG),-clang)$(if $(SAN),-san)
WARN    := -Wall -Wextra -Werror -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wvla
HARDEN  := -fstack-protector-strong -fPIE
SAN_ON  := -fsanitize=address,undefined -fno-sanitize-recover=undefined
OPT     := $(if $(SAN),-O1 $(SAN_ON) -fno-omit-frame-pointer,-O2 -D_FORTIFY_SOURCE=2)
CFLAGS  := -std=gnu11 -g $(OPT) $(WARN) $(HARDEN) -I. -I/usr/include/postgresql -MMD -MP $(EXTRA_CFLAGS)
LDFLAGS := $(if $(SAN),$(SAN_ON)) -Wl,-z,relro,-z,now

CORE_LIBS    := -lexpat -lcrypto
BACKEND_LIBS := -lhiredis -lzip -lz -levent_core -lmicrohttpd -lgnutls -lcurl -lpq $(CORE_LIBS)

PROGRAMS := payd payctl paybank
# every other folder of backends/ is a part: a library that programs and tests link
PARTS    := core $(filter-out $(addprefix backends/,$(PROGRAMS)),$(patsubst %/,%,$(wildcard backends/*/)))
lib_objs  = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c $(1)/*/*.c))
LIBS     := $(foreach p,$(PARTS),$(BUILD)/$(p).a)
BINARIES := $(foreach p,$(PROGRAMS),$(if $(wildcard backends/$(p)/*.c),$(BUILD)/$(p)))
UNIT_TESTS := $(patsubst t/unit/%.c,$(BUILD)/t/unit/%.t,$(wildcard t/unit/*_test.c))
# nginx takes its own compiler's flags: it has no clang folder
EDGE     := $(if $(CLANG),,$(BUILD)/nginx.stamp)

.PHONY: all programs unit-tests edge install-deps built run demo test bench-edge bench-create bench-lifecycle bench-memory bench-route bench-bank bench-channel install lint clean help

all: programs unit-tests edge ## build everything
programs: $(BINARIES) ## build payd, payctl, paybank
unit-tests: $(UNIT_TESTS) ## build the unit tests
edge: $(EDGE) ## build the nginx module (SAN=1: a static nginx)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $<'
	@$(CC) $(CFLAGS) $(if $(filter core/%,$<),-Wconversion) -c -o $@ $<

define part_lib
$(BUILD)/$(1).a: $(call lib_objs,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach p,$(PARTS),$(eval $(call part_lib,$(p))))

define program
$(BUILD)/$(1): $(call lib_objs,backends/$(1)) $(LIBS)
	@echo '  LINK  $$@'
	@$(CC) $(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $(LIBS) -Wl,--end-group $(BACKEND_LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

$(BUILD)/t/unit/%.t: $(BUILD)/t/unit/%.o $(LIBS)
	@echo '  LINK  $@'
	@$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LIBS) -Wl,--end-group $(BACKEND_LIBS) -lcmocka

# the virtual bank is a program and no library: its tests link all of it but main
$(BUILD)/t/unit/paybank_%.t: $(BUILD)/t/unit/paybank_%.o \
                             $(filter-out %/main.o,$(call lib_objs,backends/paybank)) $(LIBS)
	@echo '  LINK  $@'
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(LIBS) -Wl,--end-group $(BACKEND_LIBS) -lcmocka
.SECONDARY:

include $(wildcard mk/*.mk)

# ---- what people call ----

install-deps: ## install missing Debian packages
	@demo/install-deps

# packages first: nothing compiles without them
built: install-deps
	@$(MAKE) -s --no-print-directory -j$(JOBS) all

run: built ## start everything under ./run, make one payment, wait for Ctrl-C
	@PAY_BUILD=$(BUILD) exec demo/tour.py

demo: built ## the same without waiting; exit 0 = the payment was called back as succeeded
	@PAY_BUILD=$(BUILD) exec demo/tour.py --once

# what only some tests need, beside what is always built
TEST_EXTRAS := $(if $(SAN),,$(if $(or $(findstring fuzz,$(TESTS)),$(if $(TESTS),,all)),fuzzers) \
                            $(if $(or $(findstring static,$(TESTS)),$(if $(TESTS),,all)),statics))

test: built ## every test; SAN=1 under sanitizers; TESTS='t/flow/*.t' some of them
	$(if $(strip $(TEST_EXTRAS)),@$(MAKE) -s --no-print-directory -j$(JOBS) $(TEST_EXTRAS))
	@PAY_BUILD=$(BUILD) t/run-tests $(TESTS)

bench-edge bench-create bench-lifecycle bench-memory bench-route bench-bank bench-channel: built ## measure; bench/ says how
	@$(MAKE) -s --no-print-directory -j$(JOBS) bench-tools
	@PAY_BUILD=$(BUILD) bench/$(@:bench-%=%)

lint: ## style and forbidden functions
	@demo/install-deps lint
	@.ci/lint

clean: ## remove everything that was built (not what was fetched)
	rm -rf build build-san build-clang build-clang-san build-fuzz

help: ## this list
	@sed -nE 's/^([a-z -]+):.*## (.*)/  make \1\t\2/p' Makefile mk/*.mk | expand -t 34

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
