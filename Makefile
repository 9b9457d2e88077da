# ngx_pay - the one entry. `make help` lists the targets.
#
#   build/        objects, libraries and programs (gcc, optimised)
#   build-san/    the same under address and undefined-behaviour sanitizers (SAN=1)

SHELL       := /bin/bash
CC          ?= gcc
SAN         ?=
BUILD       := $(if $(SAN),build-san,build)
WARN        := -Wall -Wextra -Werror -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wvla
HARDEN      := -fstack-protector-strong -fPIC
OPT         := $(if $(SAN),-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer,-O2 -D_FORTIFY_SOURCE=2)
CFLAGS      := -std=gnu11 -g $(OPT) $(WARN) $(HARDEN) -I. -I/usr/include/postgresql -MMD -MP $(EXTRA_CFLAGS)
LDFLAGS     := $(if $(SAN),-fsanitize=address,undefined) -Wl,-z,relro,-z,now

CORE_LIBS    := -lyajl -lcrypto
BACKEND_LIBS := -levent_core -lmicrohttpd -lcurl -lpq $(CORE_LIBS)

lib_objs     = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c))
PARTS       := core backends/io backends/domain backends/store backends/channel backends/options
PART_LIBS   := $(foreach p,$(PARTS),$(BUILD)/$(p).a)
PROGRAMS    := payd payctl paybank
BINARIES    := $(foreach p,$(PROGRAMS),$(if $(wildcard backends/$(p)/*.c),$(BUILD)/$(p)))
UNIT_TESTS  := $(patsubst t/unit/%.c,$(BUILD)/t/unit/%.t,$(wildcard t/unit/*_test.c))

.PHONY: all programs unit-tests clean help
all: programs unit-tests
programs: $(BINARIES)
unit-tests: $(UNIT_TESTS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(if $(filter core/%,$<),-Wconversion) -c -o $@ $<

define part_lib
$(BUILD)/$(1).a: $(call lib_objs,$(1))
	@rm -f $$@
	@mkdir -p $$(@D)
	ar rcs $$@ $$^
endef
$(foreach p,$(PARTS),$(eval $(call part_lib,$(p))))

# order matters to the linker: what is used stands behind its users
LINK_PARTS := $(BUILD)/backends/options.a $(BUILD)/backends/store.a $(BUILD)/backends/channel.a $(BUILD)/backends/io.a \
              $(BUILD)/backends/domain.a $(BUILD)/core.a

define program
$(BUILD)/$(1): $(call lib_objs,backends/$(1)) $(LINK_PARTS)
	$(CC) $(LDFLAGS) -o $$@ $$^ $(BACKEND_LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

$(BUILD)/t/unit/%.t: $(BUILD)/t/unit/%.o $(LINK_PARTS)
	$(CC) $(LDFLAGS) -o $@ $^ $(BACKEND_LIBS) -lcmocka

clean:
	rm -rf build build-san

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
